"""Which rows make up batch number 0, 1, 2, ...: endless shuffled passes, balanced on request.

Slot ``g = step * batch_size + j`` of the whole run names a row by a pure function of the seed.
A run can therefore start at any step, on any number of processes and workers, and sees the same
rows.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from isthmus.errors import DataError
from isthmus.fit.deep.seeds import stream
from isthmus.types import Array


class Order(Protocol):
    """Rows by slot."""

    def rows(self, start: int, count: int) -> Array:
        """(count,) int64 positions in the data set of slots start, start + 1, ..."""


class Shuffled:
    """Pass after pass over all rows, each in an order of its own.

    Parameters
    ----------
    rows : int or array of int
        A number of rows, or their positions.
    seed, tag : int
        The order is a function of both; `tag` tells the streams of one run apart.

    Raises
    ------
    DataError
        Without rows.
    """

    def __init__(self, rows: int | Array, *, seed: int, tag: int) -> None:
        self._rows = np.arange(rows) if isinstance(rows, int) else np.asarray(rows, dtype=np.int64)
        if not len(self._rows):
            raise DataError("there are no rows to draw batches from")
        self._seed, self._tag = seed, tag
        self._kept: tuple[int, Array] | None = None  # the pass that was used last

    def rows(self, start: int, count: int) -> Array:
        n, parts = len(self._rows), []
        while count > 0:
            turn, offset = divmod(start, n)
            taken = min(count, n - offset)
            parts.append(self._pass(turn)[offset : offset + taken])
            start, count = start + taken, count - taken
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _pass(self, turn: int) -> Array:
        if self._kept is None or self._kept[0] != turn:
            order = stream(self._seed, self._tag, turn).permutation(len(self._rows))
            self._kept = (turn, self._rows[order])
        return self._kept[1]


class Balanced:
    """Every stratum equally often: round after round each stratum gives one row.

    Parameters
    ----------
    strata : array of shape (n,)
        The class of each row (class-balanced), its domain (domain-balanced), or the pair.
    seed, tag : int

    Notes
    -----
    Rounds have the strata in a new order each; within a stratum rows come in shuffled passes, so
    rows of a small class are seen more often, and no row is left out.
    """

    def __init__(self, strata: Array, *, seed: int, tag: int) -> None:
        values, codes = np.unique(np.asarray(strata), return_inverse=True)
        self._streams = [
            Shuffled(np.flatnonzero(codes == k), seed=seed, tag=(tag << 20) + k + 1)
            for k in range(len(values))
        ]
        self._rounds = Shuffled(len(values), seed=seed, tag=tag << 20)

    def rows(self, start: int, count: int) -> Array:
        which = self._rounds.rows(start, count)
        turns = (start + np.arange(count)) // len(self._streams)
        out = np.empty(count, dtype=np.int64)
        for k in np.unique(which):
            slots = np.flatnonzero(which == k)
            first, last = int(turns[slots[0]]), int(turns[slots[-1]])
            # one slot a round: the rounds between the first and the last, those cut off left out
            out[slots] = self._streams[k].rows(first, last - first + 1)[turns[slots] - first]
        return out


def make_order(
    count: int,
    *,
    seed: int,
    tag: int,
    labels: Array | None = None,
    domains: Array | None = None,
    balance: tuple[str, ...] = (),
) -> Order:
    """The order that `balance` asks for: (), ("class",), ("domain",) or both.

    Raises
    ------
    DataError
        If rows lack what is to be balanced.
    """
    strata: list[Array] = []
    for name, values in (("class", labels), ("domain", domains)):
        if name not in balance:
            continue
        if values is None or len(values) != count:
            raise DataError(f"rows without a {name} cannot be balanced by {name}")
        strata.append(np.unique(values, return_inverse=True)[1])
    unknown = set(balance) - {"class", "domain"}
    if unknown:
        raise DataError(f"cannot balance by {', '.join(sorted(unknown))}")
    if not strata:
        return Shuffled(count, seed=seed, tag=tag)
    joint = strata[0]
    if len(strata) == 2:
        joint = strata[0] * (int(strata[1].max()) + 1) + strata[1]
    return Balanced(joint, seed=seed, tag=tag)
