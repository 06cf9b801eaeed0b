"""Layer 1: the raw data as the checks see them: parts by role, a few items decoded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isthmus.data.samples import Account, FrameItems, Samples, account, shared_ids
from isthmus.errors import IsthmusError
from isthmus.types import Array, Modality

LOOKED = 32  # items of a part that are decoded; checks state shares, not rare cases


@dataclass
class RawView:
    """The parts of a run before any features.

    Parameters
    ----------
    source, labelled, target, test : Samples or None
        As in a run: labelled source rows, labelled target rows, rows to predict, rows to score.
    truth : ndarray of shape (len(scored),), optional
        Labels of the scored rows, only where looking at them is no secret.
    unlabelled_source : int
        Source rows that were left out because they carry no label.
    max_bad : float
        Share of bad rows that the run allows.
    seed : int
    """

    source: Samples | None
    labelled: Samples | None
    target: Samples
    test: Samples | None = None
    truth: Array | None = None
    unlabelled_source: int = 0
    max_bad: float = 0.01
    seed: int = 0
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def modality(self) -> Modality:
        return self.target.modality

    @property
    def task(self) -> str | None:
        """Task of the training rows."""
        return next((part.task for _, part in self.training), None)

    @property
    def training(self) -> list[tuple[str, Samples]]:
        """Parts with labels that a model learns from."""
        named = (("source", self.source), ("labelled target", self.labelled))
        return [(role, part) for role, part in named if part is not None]

    @property
    def scored(self) -> tuple[str, Samples]:
        """The rows that predictions are made, and scores computed for."""
        return ("test", self.test) if self.test is not None else ("target", self.target)

    @property
    def domains(self) -> tuple[Samples | None, Samples]:
        """(source, all that can be known of the target)."""
        return self.source, self.target

    @property
    def apart(self) -> bool:
        """Whether the scored rows should be other rows than the training rows.

        Without a test set the labelled target rows may be the ones to predict: folds tell then.
        """
        if self.test is not None:
            return True
        _, scored = self.scored
        return not any(len(self.overlap(part)) == len(scored) for _, part in self.training)

    def overlap(self, part: Samples) -> set[str]:
        """Ids of scored rows that are rows of `part`."""
        _, scored = self.scored
        key = ("overlap", id(part), id(scored))
        if key not in self._memo:
            self._memo[key] = shared_ids(part, scored)
        found: set[str] = self._memo[key]
        return found

    def parts(self) -> list[tuple[str, Samples]]:
        """Every part once; a test set that is the target itself only once."""
        found = [*self.training, ("target", self.target)]
        if self.test is not None and self.test.ids != self.target.ids:
            found.append(("test", self.test))
        return found

    @property
    def account(self) -> Account:
        """Rows that were looked at, and those that reading set aside, each once."""
        if "account" not in self._memo:
            self._memo["account"] = account([part for _, part in self.parts()])
        found: Account = self._memo["account"]
        return found

    def chosen(self, part: Samples, count: int = LOOKED) -> Array:
        """Positions of at most `count` rows, spread evenly."""
        return np.unique(np.linspace(0, len(part) - 1, min(count, len(part))).round().astype(int))

    def items(self, role: str, part: Samples, count: int = LOOKED) -> list[tuple[int, Any]]:
        """(position, raw item) of a few rows; what cannot be read is left out."""
        key = ("items", role, count)
        if key not in self._memo:
            found = []
            for row in self.chosen(part, count):
                try:
                    found.append((int(row), part.items[int(row)]))
                except (IsthmusError, OSError):
                    continue
            self._memo[key] = found
        return list(self._memo[key])

    def pixels(self, role: str, part: Samples) -> list[tuple[int, Array]]:
        """(position, (h, w, 3) uint8) of a few pictures."""
        from isthmus.data.images import decode

        key = ("pixels", role)
        if key not in self._memo:
            found = []
            for row, raw in self.items(role, part):
                try:
                    found.append((row, decode(raw)))
                except IsthmusError:
                    continue
            self._memo[key] = found
        return list(self._memo[key])

    def numbers(self, part: Samples) -> tuple[list[str], Array] | None:
        """Column names and (n, d) float64 of the numeric columns; None where there are none."""
        import pandas as pd

        key = ("numbers", id(part))
        if key in self._memo:
            return self._memo[key]  # type: ignore[no-any-return]
        found = None
        if isinstance(part.items, FrameItems):
            frame = part.items.frame.select_dtypes(include="number")
            if frame.shape[1]:
                values = frame.apply(pd.to_numeric).to_numpy(dtype=float, na_value=np.nan)
                found = [str(name) for name in frame.columns], values
        elif part.modality == "features" and len(part):
            rows = [np.asarray(part.items[i], dtype=float).ravel() for i in range(len(part))]
            width = len(rows[0])
            if all(len(row) == width for row in rows):
                found = [f"feature {i + 1}" for i in range(width)], np.stack(rows)
        self._memo[key] = found
        return found

    def names(self, part: Samples) -> Array | None:
        """(n,) class names of a part with classes."""
        return part.labels if part.task == "classification" else None
