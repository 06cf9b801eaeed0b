"""Layer 1: rows as the whole house sees them: raw items, names of labels, groups, domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from isthmus.errors import DataError
from isthmus.types import Array, Modality, Task

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True)
class Problem:
    """One file or row that was set aside: where, why, and what would mend it.

    Parameters
    ----------
    where : str
        ``path`` or ``file:row`` (1-based data line as an editor shows it).
    reason, remedy : str
        Short sentences.
    label : str, optional
        Name of its label where known, so that failures which follow a class can be seen.
    """

    where: str
    reason: str
    remedy: str
    label: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Plain JSON form."""
        return {
            "where": self.where,
            "reason": self.reason,
            "remedy": self.remedy,
            "label": self.label,
        }


class Items(Protocol):
    """Lazy raw items. ``items[i]`` is bytes (a file), str (a text) or an ndarray."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> Any: ...
    def take(self, rows: Array) -> Items: ...


@dataclass(frozen=True)
class FileItems:
    """Files below a root, read when asked for; the item is the file's bytes."""

    root: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> bytes:
        path = self.root / self.names[row]
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(
                "the file cannot be read",
                where=self.names[row],
                why=error.strerror or str(error),
                remedy="Check that it exists and that you may read it",
            ) from None

    def take(self, rows: Array) -> FileItems:
        return replace(self, names=tuple(self.names[int(r)] for r in rows))


@dataclass(frozen=True)
class ValueItems:
    """Items already in memory: texts, encoded bytes, or arrays (one per row)."""

    values: Sequence[Any]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> Any:
        return self.values[row]

    def take(self, rows: Array) -> ValueItems:
        if isinstance(self.values, np.ndarray):
            return ValueItems(self.values[rows])
        return ValueItems([self.values[int(r)] for r in rows])


@dataclass(frozen=True)
class FrameItems:
    """Rows of a table (pandas); an item is a one-row frame, the engine takes the whole frame."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, row: int) -> pd.DataFrame:
        return self.frame.iloc[[row]]

    def take(self, rows: Array) -> FrameItems:
        return FrameItems(self.frame.iloc[np.asarray(rows)].reset_index(drop=True))


@dataclass(frozen=True)
class Samples:
    """A data set as read: nothing decoded yet, everything named.

    Parameters
    ----------
    items : Items
        n raw items.
    ids : tuple of str
        One stable name per row (relative path, or ``file:row``), unique.
    modality : str
        ``image``, ``text``, ``audio``, ``table`` or ``features``.
    task : str or None
        ``classification``, ``multilabel`` or ``regression``; None when there are no labels.
    labels : ndarray or None
        (n,) object array of class **names** (str; None = this row is unlabelled), or (n,) float64
        for regression (NaN = unlabelled), or (n, k) bool for multi-label.
    classes : tuple of str
        Class names: sorted for classification (numeric-looking names in numeric order), column
        order of `labels` for multi-label; empty for regression.
    groups, domain, split : ndarray of str or None
        (n,) patient/speaker/burst; domain name; ``train``/``val``/``test`` as the layout says.
    quarantine : tuple of Problem
        Rows set aside while reading (they are *not* among the n rows).
    seen : int
        Rows or files that were looked at: ``len(self) + len(quarantine)`` at reading time.
    origin : str
        What was read, for messages.
    understood : dict
        Every guess with the option that overrides it; printed by `describe`.
    """

    items: Items
    ids: tuple[str, ...]
    modality: Modality
    task: Task | None = None
    labels: Array | None = None
    classes: tuple[str, ...] = ()
    groups: Array | None = None
    domain: Array | None = None
    split: Array | None = None
    quarantine: tuple[Problem, ...] = ()
    seen: int = 0
    origin: str = ""
    understood: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.items)
        if len(self.ids) != n:
            raise DataError(f"{len(self.ids)} ids for {n} items", where=self.origin)
        for name in ("labels", "groups", "domain", "split"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise DataError(f"{len(value)} {name} for {n} items", where=self.origin)

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Array) -> Samples:
        """Rows by position (int) or boolean mask; classes and quarantine stay as they are."""
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)

        def part(value: Array | None) -> Array | None:
            return None if value is None else value[rows]

        return replace(
            self,
            items=self.items.take(rows),
            ids=tuple(self.ids[int(r)] for r in rows),
            labels=part(self.labels),
            groups=part(self.groups),
            domain=part(self.domain),
            split=part(self.split),
        )

    @property
    def labelled(self) -> Array:
        """(n,) bool: rows that carry a label."""
        if self.labels is None:
            return np.zeros(len(self), dtype=bool)
        if self.task == "regression":
            return ~np.isnan(self.labels)
        if self.task == "multilabel":
            return np.ones(len(self), dtype=bool)
        return np.array([value is not None for value in self.labels], dtype=bool)

    def without_labels(self) -> Samples:
        """The same rows with labels removed: what a target looks like to every fitting step."""
        return replace(self, labels=None, task=None, classes=())
