"""Drawing the few labelled rows of a few-shot experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Task


@dataclass(frozen=True)
class Shots:
    """The drawn rows; stands for ``rows`` where an array is wanted (``samples.take(shots)``).

    Parameters
    ----------
    rows : ndarray of int
        Drawn rows, ascending.
    rest : ndarray of int
        Labelled rows that were not drawn, ascending.
    crossing : ndarray of int
        Rows of `rest`, and unlabelled rows, whose group also holds a drawn row: a test on them
        would be easier than on strangers. Empty without groups.
    short : dict of str to int
        Classes with fewer than k labelled rows, and how many they had; all of them were drawn.
    k : int
        What was asked for.
    """

    rows: Array
    rest: Array
    crossing: Array
    short: dict[str, int] = field(default_factory=dict)
    k: int = 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.rows, dtype=dtype)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def notes(self) -> list[str]:
        """Sentences that belong beside any result of these shots."""
        out = []
        if self.short:
            few = ", ".join(f"{name!r} ({count})" for name, count in self.short.items())
            out.append(f"fewer than {self.k} labelled rows in {few}: all of them were drawn")
        if len(self.crossing):
            out.append(
                f"{len(self.crossing)} rows that were not drawn share a group with drawn ones"
            )
        return out


def draw_shots(
    labels: Any,
    k: int,
    *,
    groups: Array | None = None,
    random_state: int = 0,
    task: Task = "classification",
    classes: tuple[str, ...] = (),
) -> Shots:
    """Draw k labelled rows a class at random.

    Parameters
    ----------
    labels : array-like
        (n,) names (None = unlabelled), (n, k) bool, or (n,) numbers (NaN = unlabelled).
        Unlabelled rows are never drawn.
    k : int
        Rows a class. Multi-label: rows are added, rarest label first, until every label has k
        (fewer rows in all than k a label, since rows share labels). Regression: k rows **in
        all**, one from each of k strata of equal count, so they span the range.
    groups : ndarray, optional
        (n,) patients, speakers, ...; only used to flag the rows in `Shots.crossing`.
    random_state : int, default=0
        Seed. For classes, the draw of k is the start of the draw of k + 1, and adding or
        removing another class does not change it.
    task : {"classification", "multilabel", "regression"}
    classes : tuple of str
        Classes that should be there; one without any labelled row is reported as short (0).

    Raises
    ------
    UsageError
        If k is below 1 or the task unknown.
    DataError
        If there is no labelled row.
    """
    if k < 1:
        raise UsageError(f"{k} shots", where="shots", remedy="Give 1 or more labelled rows a class")
    if task == "classification":
        rows, labelled, short = _by_class(labels, k, random_state, classes)
    elif task == "multilabel":
        rows, labelled, short = _by_label(np.asarray(labels, bool), k, random_state, classes)
    elif task == "regression":
        rows, labelled, short = _by_stratum(np.asarray(labels, float), k, random_state)
    else:
        raise UsageError(f"unknown task {task!r}", where="task")
    if len(labelled) == 0:
        raise DataError("no labelled row to draw from", where="labels")
    rows = np.sort(rows)
    rest = np.setdiff1d(labelled, rows)
    crossing = np.zeros(0, dtype=np.int64)
    if groups is not None:
        if len(groups) != len(labels):
            raise DataError(f"{len(groups)} groups for {len(labels)} rows", where="groups")
        drawn = {groups[r] for r in rows if groups[r] is not None and groups[r] == groups[r]}
        inside = np.array([g in drawn for g in groups], dtype=bool)
        inside[rows] = False
        crossing = np.flatnonzero(inside)
    return Shots(rows, rest, crossing, short, k)


def _by_class(
    labels: Any, k: int, seed: int, classes: tuple[str, ...]
) -> tuple[Array, Array, dict[str, int]]:
    members: dict[str, list[int]] = {str(name): [] for name in classes}
    for row, name in enumerate(labels):
        if name is not None and name == name and name != "":
            members.setdefault(str(name), []).append(row)
    drawn: list[Array] = []
    for name, rows in members.items():
        rng = np.random.default_rng([seed, crc32(name.encode())])
        drawn.append(rng.permutation(np.array(rows, dtype=np.int64))[:k])
    short = {name: len(rows) for name, rows in members.items() if len(rows) < k}
    labelled = np.sort(np.array([r for rows in members.values() for r in rows], dtype=np.int64))
    return np.concatenate(drawn) if drawn else labelled, labelled, short


def _by_label(
    labels: Array, k: int, seed: int, classes: tuple[str, ...]
) -> tuple[Array, Array, dict[str, int]]:
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    support = labels.sum(axis=0)
    for column in np.argsort(support, kind="stable"):
        lacking = k - int(labels[chosen, column].sum())
        free = np.flatnonzero(labels[:, column] & ~chosen)
        chosen[rng.permutation(free)[: max(lacking, 0)]] = True
    names = tuple(classes) or tuple(str(c) for c in range(labels.shape[1]))
    short = {names[c]: int(support[c]) for c in range(len(support)) if support[c] < k}
    return np.flatnonzero(chosen), np.arange(len(labels)), short


def _by_stratum(values: Array, k: int, seed: int) -> tuple[Array, Array, dict[str, int]]:
    rng = np.random.default_rng(seed)
    labelled = np.flatnonzero(~np.isnan(values))
    order = labelled[np.argsort(values[labelled], kind="stable")]
    strata = np.array_split(order, min(k, max(len(order), 1)))
    rows = np.array([rng.choice(part) for part in strata if len(part)], dtype=np.int64)
    short = {"all": len(labelled)} if len(labelled) < k else {}
    return rows, labelled, short
