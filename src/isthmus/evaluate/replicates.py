"""Figures as functions of row weights: (n, b) draw counts in, (b,) values out.

Each function equals the scikit-learn figure on the resampled rows; the tests hold them to that.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from isthmus.evaluate.resample import CHUNK, Statistic, Units
from isthmus.types import Array


def ratio(top: Array, bottom: Array, *, empty: float = np.nan) -> Array:
    """top / bottom with `empty` where the bottom is 0."""
    out = np.full(np.broadcast_shapes(top.shape, bottom.shape), empty, dtype=float)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out


def collector(codes: Array, size: int, values: Array | None = None) -> csr_matrix:
    """(size, n) sparse matrix that sums row weights (times `values`) by code; code -1 is left out.

    ``collector(codes, size) @ weights`` is a bincount of every resample at once.
    """
    rows = np.flatnonzero(codes >= 0)
    data = np.ones(len(rows)) if values is None else np.asarray(values, dtype=float)[rows]
    return csr_matrix((data, (codes[rows], rows)), shape=(size, len(codes)))


def row_mean(values: Array) -> Statistic:
    """Weighted mean of row values (n,); infinite values must have been dealt with."""
    return lambda weights: (values @ weights) / weights.sum(axis=0)


def auc(positive: Array, scores: Array) -> Statistic:
    """Area under the ROC curve; ties count one half; NaN where a resample holds one class only.

    Between two neighbouring positive scores only the *number* of drawn negatives matters, so the
    negatives are summed by gap (one sparse product) and accumulated over the gaps.
    """
    levels, codes = np.unique(scores[positive], return_inverse=True)
    size = len(levels)
    if size == 0 or positive.all():
        return lambda weights: np.full(weights.shape[1], np.nan)
    at = np.full(len(scores), -1)
    at[positive] = codes
    gaps = np.full(len(scores), -1)
    negative = scores[~positive]
    below = np.searchsorted(levels, negative, side="left")
    equal = levels[np.minimum(below, size - 1)] == negative
    gaps[~positive] = 2 * below + (equal & (below < size))
    sum_positive, sum_negative = collector(at, size), collector(gaps, 2 * size + 1)

    def value(weights: Array) -> Array:
        hits = sum_positive @ weights
        misses = sum_negative @ weights
        passed = np.cumsum(misses, axis=0)
        wins = (hits * (passed[0:-1:2] + 0.5 * misses[1::2])).sum(axis=0)
        return ratio(wins, hits.sum(axis=0) * passed[-1])

    return value


def auc_influence(positive: Array, scores: Array) -> tuple[float, Array]:
    """AUC and the (n,) influence of each row on it (DeLong et al. 1988): mean 0.

    ``auc + influence @ weights / n`` is the bootstrap to first order, at the cost of one sort.
    """
    n, n_positive = len(scores), int(positive.sum())
    n_negative = n - n_positive
    if not n_positive or not n_negative:
        return np.nan, np.full(n, np.nan)
    ordered_positive, ordered_negative = np.sort(scores[positive]), np.sort(scores[~positive])

    def share_below(ordered: Array, at: Array) -> Array:
        left = np.searchsorted(ordered, at, side="left")
        right = np.searchsorted(ordered, at, side="right")
        return (left + right) / (2 * len(ordered))

    wins = share_below(ordered_negative, scores[positive])
    area = float(wins.mean())
    influence = np.empty(n)
    influence[positive] = (wins - area) * n / n_positive
    losses = 1 - share_below(ordered_positive, scores[~positive])
    influence[~positive] = (losses - area) * n / n_negative
    return area, influence


def average_precision(positive: Array, scores: Array) -> Statistic:
    """Average precision, the sum of (gain in recall) x precision; NaN without positives."""
    levels, codes = np.unique(-scores[positive], return_inverse=True)
    size = len(levels)
    if size == 0:
        return lambda weights: np.full(weights.shape[1], np.nan)
    at = np.full(len(scores), -1)
    at[positive] = codes
    before = np.full(len(scores), -1)
    before[~positive] = np.searchsorted(levels, -scores[~positive], side="left")
    sum_positive, sum_negative = collector(at, size), collector(before, size + 1)

    def value(weights: Array) -> Array:
        hits = sum_positive @ weights
        found = np.cumsum(hits, axis=0)
        false = np.cumsum((sum_negative @ weights)[:-1], axis=0)
        precision = ratio(found, found + false, empty=0.0)
        return ratio((hits * precision).sum(axis=0), hits.sum(axis=0))

    return value


def binned_error(codes: Array, size: int, gap: Array) -> Statistic:
    """Calibration error over fixed bins: sum of |sum of w (confidence - right)| / sum of w."""
    sums = collector(codes, size, gap)
    return lambda weights: np.abs(sums @ weights).sum(axis=0) / weights.sum(axis=0)


def calibrated_error(
    codes: Array, size: int, gap: Array, units: Units, *, n_boot: int, random_state: int
) -> Array:
    """(n_boot,) calibration errors that noise alone gives a calibrated model on these rows.

    Under calibration the gaps of a unit sum to 0 in expectation, so their signs are exchangeable:
    the signs of whole units are flipped at random (wild bootstrap).
    """
    owner = np.arange(units.n_rows) if units.codes is None else units.codes
    sums = csr_matrix((gap, (codes, owner)), shape=(size, units.count))
    rng = np.random.default_rng([random_state, 1])
    step = max(1, CHUNK // units.count)
    parts = []
    for start in range(0, n_boot, step):
        shape = (units.count, min(step, n_boot - start))
        signs = rng.integers(0, 2, shape, dtype=np.int8) * 2.0 - 1.0
        parts.append(np.abs(sums @ signs).sum(axis=0) / units.n_rows)
    return np.concatenate(parts) if parts else np.zeros(0)


def median(values: Array) -> Statistic:
    """Median of the drawn rows; the mean of the two middle ones where their number is even."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]

    def value(weights: Array) -> Array:
        total = np.cumsum(weights[order], axis=0)
        half = total[-1] / 2
        lower = (total >= half).argmax(axis=0)
        upper = (total > half).argmax(axis=0)
        return (ordered[lower] + ordered[upper]) / 2

    return value


def spearman(x: Array, y: Array) -> Statistic:
    """Spearman's rank correlation with average ranks of ties; NaN where one side is constant."""
    parts = []
    for values in (x, y):
        levels, codes = np.unique(values, return_inverse=True)
        parts.append((collector(codes, len(levels)), codes))

    def value(weights: Array) -> Array:
        centre = (weights.sum(axis=0) + 1) / 2
        ranks = []
        for sums, codes in parts:
            drawn = sums @ weights
            rank = np.cumsum(drawn, axis=0) - (drawn - 1) / 2 - centre
            ranks.append(rank[codes])
        first, second = ranks
        weighted = weights * first
        norm = (weighted * first).sum(axis=0) * (weights * second * second).sum(axis=0)
        # ranks are multiples of 1/2, so a constant side gives exactly 0
        return ratio((weighted * second).sum(axis=0), np.sqrt(norm))

    return value


def r_squared(y: Array, predicted: Array) -> Statistic:
    """Share of the variance explained; NaN where a resample's y is constant."""
    centred = y - y.mean()  # the difference of two large sums would lose digits
    rows = np.stack([(y - predicted) ** 2, centred, centred**2])
    codes = collector(np.unique(y, return_inverse=True)[1], len(np.unique(y)))

    def value(weights: Array) -> Array:
        error, first, second = rows @ weights
        spread = second - first**2 / weights.sum(axis=0)
        varies = ((codes @ weights) > 0).sum(axis=0) > 1
        return np.where(varies, 1 - ratio(error, spread), np.nan)

    return value
