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


def shared_ids(one: Samples, other: Samples) -> set[str]:
    """Ids of rows that both parts hold: of the same data set, with the same id.

    Data in memory have no name of their own: there, a few items are compared as well.
    """
    if one.origin != other.origin:
        return set()
    same = set(one.ids) & set(other.ids)
    here = {row_id: row for row, row_id in enumerate(one.ids)}
    there = {row_id: row for row, row_id in enumerate(other.ids)}
    for row_id in sorted(same)[:: max(1, len(same) // 5)]:
        if not _same_item(one.items, here[row_id], other.items, there[row_id]):
            return set()
    return same


def _same_item(one: Items, i: int, other: Items, j: int) -> bool:
    if isinstance(one, FileItems) and isinstance(other, FileItems):  # not read for this
        return (one.root, one.names[i]) == (other.root, other.names[j])
    return _equal(one[i], other[j])


@dataclass(frozen=True)
class Account:
    """What several parts of a run hold together; a row that stands in two of them counts once.

    Parameters
    ----------
    seen : int
        Rows and files that were looked at: the usable ones and those set aside while reading.
    problems : tuple of Problem
        Those set aside while reading.
    """

    seen: int
    problems: tuple[Problem, ...]


def account(parts: Sequence[Samples]) -> Account:
    """Count the rows of a run.

    Labelled target rows are drawn from the target, a test set may be the target itself, and source
    and target may be domains of one file, of which reading set the same rows aside both times.
    Files of one name in two folders are different files, and so are their lines.
    """
    rows = 0
    problems: list[Problem] = []
    before: list[Samples] = []
    read: set[tuple[str, int, tuple[Problem, ...]]] = set()
    for part in parts:
        known = set().union(*(shared_ids(part, other) for other in before))
        rows += len(part) - len(known)
        before.append(part)
        reading = (part.origin, part.seen, part.quarantine)
        if reading not in read:
            read.add(reading)
            problems += part.quarantine
    return Account(rows + len(problems), tuple(problems))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return all(_equal(a, b) for a, b in zip(one, other))
    if hasattr(one, "columns") and hasattr(other, "columns"):
        return list(one.columns) == list(other.columns) and bool(
            one.reset_index(drop=True).equals(other.reset_index(drop=True))
        )
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        a, b = np.asarray(one), np.asarray(other)
        return a.shape == b.shape and bool(np.array_equal(a, b))
    return bool(one == other)
