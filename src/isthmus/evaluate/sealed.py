"""Test labels under seal: they can be opened, but not without leaving a trace.

The seal guards against accidents (a selection step that reads the test labels in passing), not
against a caller who digs through closures on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Task


class SealedLabels:
    """Labels that only `open` gives out; each opening is counted with its reason.

    Parameters
    ----------
    labels : array-like
        (n,) names or numbers, or (n, k) bool. A private copy is kept.
    task : str
        ``classification``, ``multilabel`` or ``regression``.
    classes : tuple of str
        Names of the classes; they are no secret, which row has which one is.
    origin : str
        What was read, for messages.

    Examples
    --------
    >>> sealed = SealedLabels(["cat", "dog"], task="classification", classes=("cat", "dog"))
    >>> sealed
    SealedLabels(2 rows, classification, opened 0 times)
    >>> list(sealed.open("final test"))
    ['cat', 'dog']
    >>> sealed.openings
    1
    """

    __slots__ = ("_ledger", "_reveal", "_size", "classes", "origin", "task")

    def __init__(
        self,
        labels: Any,
        *,
        task: Task,
        classes: tuple[str, ...] = (),
        origin: str = "",
    ) -> None:
        kept = np.array(labels, dtype=None if task != "classification" else object)
        if kept.ndim == 0:
            raise DataError("labels are no sequence", where=origin or "labels")
        self.task, self.classes, self.origin = task, tuple(classes), origin
        self._size = len(kept)
        self._ledger: list[str] = []
        self._reveal = _seal(kept, self._ledger)

    def open(self, reason: str) -> Array:
        """A copy of the labels; the opening is counted.

        Parameters
        ----------
        reason : str
            Printed in the report, e.g. ``"final test of the chosen route"``.

        Raises
        ------
        UsageError
            If no reason is given.
        """
        return self._reveal(reason, None)

    @property
    def openings(self) -> int:
        """How often these labels, or any subset taken from them, were opened."""
        return len(self._ledger)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons given, in order."""
        return tuple(self._ledger)

    def take(self, rows: Array) -> SealedLabels:
        """Some rows (positions or a boolean mask), still sealed, counted in the same ledger."""
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        if rows.size and (rows.min() < 0 or rows.max() >= self._size):
            raise DataError(f"rows outside 0..{self._size - 1}", where=self.origin or "take")
        part = object.__new__(SealedLabels)
        part.task, part.classes, part.origin = self.task, self.classes, self.origin
        part._size = len(rows)
        part._ledger = self._ledger
        whole, chosen = self._reveal, rows.astype(np.int64)

        def reveal(reason: str, inner: Array | None) -> Array:
            return whole(reason, chosen if inner is None else chosen[inner])

        part._reveal = reveal
        return part

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        origin = f" of {self.origin}" if self.origin else ""
        times = "once" if self.openings == 1 else f"{self.openings} times"
        return f"SealedLabels({self._size} rows{origin}, {self.task}, opened {times})"

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise UsageError(
            "test labels are sealed",
            where=self.origin,
            why="reading them while fitting or choosing would make the test dishonest",
            remedy="Only the final evaluation opens them: score(sealed, ...)",
        )

    __iter__ = __getitem__ = __array__ = __contains__ = __reduce_ex__ = _refuse
    __copy__ = __deepcopy__ = __eq__ = __ne__ = __lt__ = __gt__ = _refuse
    __hash__ = object.__hash__


def _seal(labels: Array, ledger: list[str]) -> Callable[[str, Array | None], Array]:
    """The only way to the labels: it writes the ledger before it answers."""

    def reveal(reason: str, rows: Array | None) -> Array:
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(
                "opening sealed labels needs a reason", remedy="open('final test'), for example"
            )
        ledger.append(reason)
        return labels.copy() if rows is None else labels[rows]

    return reveal
