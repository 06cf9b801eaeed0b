"""Exact finite-sample intervals of accuracy from 20 or more target labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import beta

from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Interval

FEWEST = 20


def clopper_pearson(right: int, n: int, *, level: float = 0.9) -> tuple[float, float]:
    """Interval of a share that covers it with at least `level` for every true share.

    Two one-sided binomial tests inverted (Clopper and Pearson, *Biometrika* 1934).

    Parameters
    ----------
    right, n : int
        Successes and trials, ``0 <= right <= n``, ``n >= 1``.
    """
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else float(beta.ppf(tail, right, n - right + 1))
    high = 1.0 if right == n else float(beta.ppf(1 - tail, right + 1, n - right))
    return low, high


def exact_interval(right: Array, *, level: float = 0.9) -> Interval:
    """Accuracy from labelled target rows drawn at random, Clopper-Pearson.

    Parameters
    ----------
    right : ndarray of shape (n,), bool
        Whether each labelled row is predicted right. Rows that the model, or the choice of the
        model, was fitted on do not count: leave them out.
    level : float, default=0.9
        Coverage is at least this, whatever the true accuracy; rows drawn without replacement
        only make it higher. Rows that come in groups are not independent: then it does not hold.

    Raises
    ------
    DataError
        Fewer than 20 rows.
    """
    r = _checked(right, level)
    low, high = clopper_pearson(int(r.sum()), len(r), level=level)
    how = f"exact binomial interval, {len(r)} labelled target rows"
    return Interval(float(r.mean()), low, high, level=level, how=how)


def stratified_interval(
    right: Array,
    codes: Array,
    shares: Sequence[float] | Array,
    *,
    bounds: tuple[Array, Array] | None = None,
    level: float = 0.9,
) -> Interval:
    """Accuracy from labelled target rows drawn per class, conservative.

    Accuracy is ``sum_c share_c a_c``. Which of three valid intervals is given depends on the
    numbers drawn and on the shares, never on what was right, so coverage is at least `level`:

    - shares in proportion to the rows drawn, known: the binomial interval of all rows together,
      which unequal accuracies of the classes only make wider than needed (Hoeffding, *On the
      distribution of the number of successes in independent trials*, 1956, theorem 4; for a
      single success or failure, where that theorem is silent, the union bound);
    - else, shares known: the shorter in prospect of Hoeffding's inequality (1963, theorem 2) and
      of Clopper-Pearson intervals of the classes at level ``1 - (1 - level) / classes``, added up;
    - shares estimated, with `bounds`: the latter, at the worst shares within the bounds. Half of
      the error goes to the bounds, which should hold jointly at level ``1 - (1 - level) / 2``.

    Parameters
    ----------
    right : ndarray of shape (n,), bool
    codes : ndarray of shape (n,), int
        True class of each labelled row.
    shares : sequence of K floats
        Share of each class among all target rows. A class without a labelled row may be
        all right or all wrong.
    bounds : (low, high), two arrays of shape (K,), optional
        Where the shares are estimates.
    level : float, default=0.9

    Raises
    ------
    DataError
        Fewer than 20 rows, or shares that do not fit.
    """
    r, c = _checked(right, level), np.asarray(codes)
    pi = np.asarray(shares, dtype=float)
    if c.shape != r.shape or c.min() < 0 or c.max() >= len(pi):
        raise DataError(f"class codes of shape {c.shape} for {len(pi)} shares", where="codes")
    if not np.isfinite(pi).all() or (pi < 0).any() or abs(pi.sum() - 1) > 1e-6:
        raise DataError("class shares must be non-negative and sum to 1", where="shares")
    n = np.bincount(c, minlength=len(pi))
    hits = np.bincount(c, weights=r, minlength=len(pi)).astype(int)
    if (n == 0)[pi > 0].all():
        raise DataError("no labelled row is of a class with a share")
    known = n > 0
    value = float(pi[known] @ (hits[known] / n[known]) / pi[known].sum())
    said = f"{len(r)} target rows labelled per class"
    if bounds is not None:
        low, high = _with_bounds(hits, n, pi, bounds, 1 - (1 - level) / 2)
        how = f"exact intervals of {known.sum()} classes at the worst shares in bounds, {said}"
        return Interval(value, min(low, value), max(high, value), level=level, how=how)
    used = pi > 0
    if known[used].all() and np.ptp(n[used] / pi[used]) <= 1e-9 * len(r) and not n[~used].any():
        low, high = _pooled(int(hits.sum()), len(r), level)
        how = f"exact binomial interval, {said} in proportion to the classes' shares"
    elif 2 * _hoeffding(n, pi, level) < _prospect(n, pi, level):
        # what labels of absent classes say does not count; unlabelled classes may be anything
        half, gap = _hoeffding(n, pi, level, missing=False), float(pi[~known].sum())
        seen = float(pi[known] @ (hits[known] / n[known]))
        low, high = max(0.0, seen - half), min(1.0, seen + half + gap)
        how = f"Hoeffding's inequality over given class shares, {said}"
    else:
        low, high = _per_class(hits, n, pi, level)
        how = f"exact intervals of {used.sum()} classes added up by their shares, {said}"
    return Interval(value, low, high, level=level, how=how)


def _checked(right: Array, level: float) -> Array:
    r = np.asarray(right)
    if not 0.5 <= level < 1:
        raise UsageError(f"level={level!r}", why="from 0.5 to below 1")
    if r.ndim != 1 or (r.dtype != bool and not np.isin(r, (0, 1)).all()):
        raise DataError(f"right-or-wrong values of shape {r.shape} and type {r.dtype}")
    if len(r) < FEWEST:
        raise DataError(
            f"{len(r)} labelled target rows",
            why=f"an exact interval from fewer than {FEWEST} says next to nothing",
            remedy=f"Label {FEWEST - len(r)} more, or read the estimate without labels",
        )
    return r.astype(bool)


def _pooled(right: int, n: int, level: float) -> tuple[float, float]:
    """Clopper-Pearson, with the union bound where one row is right or one is wrong."""
    low, high = clopper_pearson(right, n, level=level)
    edge = (1 - level) / (2 * n)
    return (edge if right == 1 else low), (1 - edge if right == n - 1 else high)


def _hoeffding(n: Array, pi: Array, level: float, *, missing: bool = True) -> float:
    """Half the width; the shares of unlabelled classes are added where asked."""
    known = n > 0
    half = math.sqrt(math.log(2 / (1 - level)) / 2 * float((pi[known] ** 2 / n[known]).sum()))
    return half + (float(pi[~known].sum()) / 2 if missing else 0.0)


def _per_class(hits: Array, n: Array, pi: Array, level: float) -> tuple[float, float]:
    ends = _ends(hits, n, level, int((pi > 0).sum()))
    return float(pi @ ends[:, 0]), float(pi @ ends[:, 1])


def _ends(hits: Array, n: Array, level: float, parts: int) -> Array:
    """(K, 2) intervals that hold jointly; 0 ... 1 for a class without a row."""
    own = 1 - (1 - level) / max(parts, 1)
    return np.array(
        [
            clopper_pearson(int(h), int(m), level=own) if m else (0.0, 1.0)
            for h, m in zip(hits, n, strict=True)
        ]
    )


def _prospect(n: Array, pi: Array, level: float) -> float:
    """Width of the per-class interval if four in five rows turned out right."""
    low, high = _per_class(np.round(0.8 * n).astype(int), n, pi, level)
    return high - low


def _with_bounds(
    hits: Array, n: Array, pi: Array, bounds: tuple[Array, Array], level: float
) -> tuple[float, float]:
    floor, roof = (np.clip(np.asarray(b, dtype=float), 0, 1) for b in bounds)
    floor, roof = np.minimum(floor, pi), np.maximum(roof, pi)
    ends = _ends(hits, n, level, int((roof > 0).sum()))
    return _worst(ends[:, 0], floor, roof), 1 - _worst(1 - ends[:, 1], floor, roof)


def _worst(values: Array, floor: Array, roof: Array) -> float:
    """Least ``sum q_c values_c`` over shares q between floor and roof that sum to 1."""
    q, left = floor.copy(), 1 - float(floor.sum())
    for c in np.argsort(values, kind="stable"):
        more = min(left, float(roof[c] - floor[c]))
        q[c] += more
        left -= more
    return float(q @ values)
