"""Layer 6: which target rows to label next: doubtful, typical, and unlike each other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array

logger = logging.getLogger(__name__)

REFERENCE = 2000  # rows that stand for the target where it has more
BLOCK = 4096  # rows whose kernel values are in memory at a time
DOUBT, FLOOR = 0.5, 0.05  # a row weighs (FLOOR + uncertainty)^DOUBT
NARROWEST = (
    0.1  # least kernel width, in squared distances of both kinds: copies must not set the scale
)
PAIRS = 500  # rows whose distances give the scale of the features
SAME = 0.95  # kernel value from which a row counts as labelled with its neighbour


@dataclass(frozen=True)
class LabelNext:
    """One row of the list; all figures lie between 0 and 1.

    Parameters
    ----------
    row : int
        Position in the target rows.
    score : float
        How much of the doubtful target mass near it no label stands for yet, when it was chosen;
        1 is the largest of all rows before any choice. It falls along the list.
    uncertainty : float
        1 minus the gap between its two most probable classes.
    coverage : float
        1 minus its kernel value to the nearest row that was labelled or chosen before it: 1 is
        like none of them.
    typicality : float
        Share of the target rows whose surroundings are emptier.
    reason : str
        The same in words.
    """

    row: int
    score: float
    uncertainty: float
    coverage: float
    typicality: float
    reason: str


def label_next(
    proba: Any,
    Xt: Any,
    *,
    known: Any = None,
    count: int = 50,
    groups: Any = None,
    random_state: int = 0,
) -> list[LabelNext]:
    """Choose a batch of target rows whose labels should help most.

    Kernel herding [1]_: each step takes the row j with the largest ``sum_i w_i k(i, j) -
    mean_{s in S} k(s, j)``, S being the rows labelled or chosen so far and j. So the batch comes to
    stand for the target's distribution, in which a row weighs ``w = (0.05 + uncertainty)^0.5``:
    doubtful regions get more of it, empty ones (outliers) and those that have labels less. The
    kernel is Gaussian in the features and the probabilities together, each on its own scale, as
    wide as the region that one label has to stand for. Rows without any doubt still count: labels
    from the border alone would shift the class shares that a model is fitted on.

    Parameters
    ----------
    proba : array-like of shape (n_t, K)
        Calibrated probabilities of the target rows, as the model (or ensemble) has them now.
    Xt : array-like of shape (n_t, d)
        The rows in the common space of both domains.
    known : array-like of int or bool, optional
        Positions (or a mask of length n_t) of rows that are labelled already; never chosen.
    count : int, default=50
        Rows wanted. There are fewer in the list where fewer distinct rows are left.
    groups : array-like of shape (n_t,), optional
        Patients, speakers, ...: no group gives more than its equal share of the batch while
        others can give.
    random_state : int, default=0
        Draws the 2,000 rows that stand for a larger target; each reason says so then.

    Returns
    -------
    list of LabelNext
        In the order of their choice. The kernel depends on `count`, so a list of 20 is not
        always the start of a list of 50.

    Raises
    ------
    DataError
        If the shapes disagree or a number is not finite.
    UsageError
        If `count` is below 1.

    Notes
    -----
    Time O(n_t (r + count) (d + K)) with r = min(n_t, 2,000), memory O(n_t + 4,096 r) beyond the
    input. Of equal rows one is chosen; rows that the kernel hardly tells apart (0.95) likewise,
    as long as there are others.

    References
    ----------
    .. [1] Chen, Welling, Smola, "Super-samples from kernel herding", UAI 2010.
    """
    P, X = _checked(proba, Xt, count)
    n = len(X)
    marked = _positions(known, n)
    doubt = uncertainty(P)
    free = _distinct(X, marked)
    rng = np.random.default_rng(random_state)
    some = np.arange(n) if n <= REFERENCE else np.sort(rng.choice(n, REFERENCE, replace=False))
    if n > REFERENCE:
        logger.info("label-next: %d of %d target rows stand for all", REFERENCE, n)
    kernel = _Kernel.of(P, X, some, count)
    weights = (FLOOR + doubt[some]) ** DOUBT
    both = np.column_stack([weights / weights.sum(), np.full(len(some), 1 / len(some))])
    wanted, density = kernel.sums(some, both).T
    typical = np.searchsorted(np.sort(density), density) / max(n - 1, 1)
    taken = np.zeros(n)  # sum of the kernel to S
    nearest = np.zeros(n)  # largest kernel value to S
    for part in _blocks(marked):
        for rows, K in kernel.blocks(part):
            taken[rows] += K.sum(axis=1)
            nearest[rows] = np.maximum(nearest[rows], K.max(axis=1))
    shares = _Shares.of(groups, free, count)
    scale = max(float(wanted.max()), 1e-12)
    note = f"; judged against {REFERENCE:,} of {n:,} rows" if n > REFERENCE else ""
    found: list[LabelNext] = []
    while len(found) < count and free.any():
        size = len(marked) + len(found) + 1
        gain = wanted - taken / size
        may = shares.allowed(free)
        fresh = may & (nearest < SAME)
        j = int(np.argmax(np.where(fresh if fresh.any() else may, gain, -np.inf)))
        figures = (
            float(np.clip(gain[j] / scale, 0.0, 1.0)),
            float(doubt[j]),
            float(np.clip(1.0 - nearest[j], 0.0, 1.0)),
            float(min(typical[j], 1.0)),
        )
        found.append(LabelNext(j, *figures, reason(*figures[1:]) + note))
        free[j] = False
        shares.take(j)
        column = kernel.column(j)
        taken += column
        np.maximum(nearest, column, out=nearest)
    if len(found) < count:
        logger.info("label-next: only %d distinct unlabelled rows for %d", len(found), count)
    return found


def uncertainty(proba: Array) -> Array:
    """(n,) 1 minus the gap between the two largest probabilities; 0 with a single class.

    >>> uncertainty(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    if proba.shape[1] < 2:
        return np.zeros(len(proba))
    top = np.partition(proba, proba.shape[1] - 2, axis=1)[:, -2:]
    return np.asarray(np.clip(1.0 - (top[:, 1] - top[:, 0]), 0.0, 1.0))


def reason(doubt: float, coverage: float, typicality: float) -> str:
    """The three figures in words."""
    words = [
        f"the model hesitates between two classes (gap {1 - doubt:.2f})"
        if doubt >= 0.5
        else f"the model is fairly sure (gap {1 - doubt:.2f}), a check of it",
        "unlike all rows with a label so far" if coverage >= 0.5 else "near rows with a label",
        "typical of the target" if typicality >= 0.5 else "from a thinner part of the target",
    ]
    return "; ".join(words)


@dataclass(frozen=True)
class _Kernel:
    """``exp(-(|x - x'|^2 / sx + |p - p'|^2 / sp) / width)`` between target rows, in blocks."""

    P: Array
    X: Array
    sx: float
    sp: float
    width: float = 1.0

    @classmethod
    def of(cls, P: Array, X: Array, some: Array, count: int) -> _Kernel:
        """The kernel that suits a target.

        The scale of the features is a median squared distance (a few outliers must not set it),
        that of the probabilities, which have none, the mean; the width is the median distance to
        the neighbour as far down the list as one label has rows to stand for.
        """
        sp = 2 * float(np.sum(np.var(P[some], axis=0, dtype=np.float64)))
        kernel = cls(P, X, _median_distance(X[some[:: max(len(some) // PAIRS, 1)]]), sp or 1.0)
        k = int(np.clip(round(len(some) / count), 2, max(len(some) - 1, 2)))
        far = []
        for _, D in kernel.distances(some, some):
            far.append(np.partition(D, min(k, D.shape[1] - 1), axis=1)[:, min(k, D.shape[1] - 1)])
        width = max(float(np.median(np.concatenate(far))), NARROWEST * 2)
        return cls(P, X, kernel.sx, kernel.sp, width)

    def distances(self, rows: Array, others: Array) -> Iterator[tuple[Array, Array]]:
        """(rows of the block, scaled squared distances (block, others))."""
        B = self._scaled(others)
        norm = np.einsum("ij,ij->i", B, B)
        for part in _blocks(rows):
            A = self._scaled(part)
            D = np.einsum("ij,ij->i", A, A)[:, None] + norm - 2 * (A @ B.T)
            yield part, np.maximum(D, 0.0)

    def blocks(self, others: Array) -> Iterator[tuple[Array, Array]]:
        """Kernel values of all rows to others, block by block."""
        for part, D in self.distances(np.arange(len(self.X)), others):
            yield part, np.exp(D / -self.width)

    def sums(self, others: Array, weights: Array) -> Array:
        """(n, columns of weights) weighted sums of the kernel values to others."""
        return np.concatenate([K @ weights for _, K in self.blocks(others)])

    def column(self, row: int) -> Array:
        """(n,) kernel values to one row; exactly 1 to itself."""
        found = np.concatenate([K[:, 0] for _, K in self.blocks(np.array([row]))])
        found[row] = 1.0
        return found

    def _scaled(self, rows: Array) -> Array:
        return np.concatenate(
            [
                np.asarray(self.X[rows], dtype=np.float32) / np.float32(self.sx**0.5),
                np.asarray(self.P[rows], dtype=np.float32) / np.float32(self.sp**0.5),
            ],
            axis=1,
        )


@dataclass
class _Shares:
    """How many rows each group may give."""

    code: Array | None
    given: Array
    quota: int

    @classmethod
    def of(cls, groups: Any, free: Array, count: int) -> _Shares:
        if groups is None:
            return cls(None, np.zeros(0), 0)
        names = np.asarray(groups)
        if names.shape != free.shape:
            raise DataError(f"groups of shape {names.shape} for {len(free)} rows", where="groups")
        _, code = np.unique(names.astype(str), return_inverse=True)
        able = len(np.unique(code[free]))
        quota = -(-count // able) if able else count
        return cls(code, np.zeros(int(code.max()) + 1, dtype=int), quota)

    def allowed(self, free: Array) -> Array:
        """Rows of groups that have not given their share; every group gets one more in turn."""
        if self.code is None:
            return free
        while not (may := free & (self.given[self.code] < self.quota)).any():
            self.quota += 1
        return np.asarray(may)

    def take(self, row: int) -> None:
        if self.code is not None:
            self.given[self.code[row]] += 1


def _median_distance(X: Array) -> float:
    """Median squared distance of two different rows, or the mean where half of them are equal."""
    A = np.asarray(X, dtype=np.float64)
    A = A - A.mean(axis=0)
    norm = np.einsum("ij,ij->i", A, A)
    apart = (norm[:, None] + norm - 2 * (A @ A.T))[np.triu_indices(len(A), 1)]
    if not len(apart):
        return 1.0
    middle, mean = float(np.median(apart)), float(apart.mean())
    return middle if middle > 1e-9 * mean else (mean if mean > 0 else 1.0)


def _checked(proba: Any, Xt: Any, count: int) -> tuple[Array, Array]:
    if count < 1:
        raise UsageError(f"{count} rows to label", where="count", remedy="Ask for 1 or more")
    P, X = np.asarray(proba), np.asarray(Xt)
    if P.ndim != 2 or X.ndim != 2 or len(P) != len(X) or not len(X):
        raise DataError(
            f"probabilities of shape {P.shape} and rows of shape {X.shape}",
            where="label_next",
            why="(n_t, K) and (n_t, d) with n_t of at least 1 are needed",
        )
    fine = all(np.isfinite(A[part]).all() for A in (P, X) for part in _blocks(np.arange(len(A))))
    if not fine:
        raise DataError("a probability or feature is not finite", where="label_next")
    return P, X


def _positions(known: Any, n: int) -> Array:
    if known is None:
        return np.zeros(0, dtype=np.int64)
    found = np.asarray(known)
    if found.dtype == bool:
        if found.shape != (n,):
            raise DataError(f"a mask of shape {found.shape} for {n} rows", where="known")
        return np.flatnonzero(found)
    found = np.unique(found.astype(np.int64))
    if len(found) and (found[0] < 0 or found[-1] >= n):
        raise DataError(f"positions beyond the {n} target rows", where="known")
    return found


def _distinct(X: Array, marked: Array) -> Array:
    """(n,) bool: the first of every set of equal rows, none that equals a labelled one."""
    seen = {X[row].tobytes() for row in marked}
    free = np.zeros(len(X), dtype=bool)
    for row in range(len(X)):
        mark = X[row].tobytes()
        if mark not in seen:
            seen.add(mark)
            free[row] = True
    return free


def _blocks(rows: Array) -> Iterator[Array]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]
