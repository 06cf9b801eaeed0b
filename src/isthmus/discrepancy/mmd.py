"""Maximum mean discrepancy (Gretton et al. 2012): distance of two means in a kernel's space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat
import numpy as np

from isthmus.discrepancy.base import Gap, check_choice, check_pair, mean_and_spread, to_numpy
from isthmus.errors import UsageError
from isthmus.types import Array

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median distance, for the multi-kernel
FEATURES = 1000  # random features; the error of a kernel value is about 1 / sqrt(FEATURES)
CHUNK = 2048  # rows of the kernel matrix in memory at a time


def mmd(
    zs: Any,
    zt: Any,
    *,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] | None = None,
    unbiased: bool = True,
    method: str = "auto",
    max_exact: int = 5000,
    random_state: int = 0,
) -> float:
    """Squared maximum mean discrepancy of two sets of features.

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy or torch; computed in float64 on their device.
    kernel : {"rbf", "multi", "linear"}, default="rbf"
        ``exp(-|x - y|^2 / (2 b^2))``, its mean over several b, or ``x . y``.
    bandwidth : float or sequence, optional
        b in units of the features. By default the median distance of the pooled rows (for
        "multi": 1/4, 1/2, 1, 2 and 4 times it).
    unbiased : bool, default=True
        The U-statistic (Gretton et al. 2012, eq. 3; may be negative) or the V-statistic (eq. 5).
    method : {"auto", "exact", "random-features", "block"}, default="auto"
        "auto" is exact up to `max_exact` rows a side and random Fourier features (Rahimi and
        Recht 2007) beyond it. "block" averages the U-statistic over blocks of sqrt(n) rows
        (Zaremba et al. 2013). The linear kernel is exact at every size.
    max_exact : int, default=5000
    random_state : int, default=0
        Draws the random features, the rows of the median heuristic and the blocks.

    Returns
    -------
    float
        0 if and only if the distributions agree (RBF kernels), up to sampling error.

    Raises
    ------
    DataError, UsageError
        On rows or options that cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> mmd(np.zeros((3, 2)), np.ones((4, 2)), kernel="linear")
    2.0
    """
    return mmd_test(
        zs,
        zt,
        kernel=kernel,
        bandwidth=bandwidth,
        unbiased=unbiased,
        method=method,
        max_exact=max_exact,
        n_permutations=0,
        random_state=random_state,
    ).value


def mmd_test(
    zs: Any,
    zt: Any,
    *,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] | None = None,
    unbiased: bool = True,
    method: str = "auto",
    max_exact: int = 5000,
    n_permutations: int = 200,
    level: float = 0.95,
    random_state: int = 0,
) -> Gap:
    """`mmd` with the p-value of "both sides come from one distribution".

    Parameters
    ----------
    n_permutations : int, default=200
        Random relabellings of the pooled rows; p = (1 + number at least as large) / (1 + number).
        0 skips the test. "block" uses the normal limit of its mean instead, and has an interval.
    level : float, default=0.95
        Of the interval of "block".

    Other parameters are those of `mmd`. Rows must be independent: with groups (patients,
    speakers) the p-value is too small.

    Returns
    -------
    Gap
        ``info`` holds the bandwidths, the method and the number of rows.
    """
    who = "mmd"
    check_choice(kernel, ("rbf", "multi", "linear"), name="kernel", who=who)
    check_choice(method, ("auto", "exact", "random-features", "block"), name="method", who=who)
    xp, zs, zt = check_pair(zs, zt, who=who)
    m, n = zs.shape[0], zt.shape[0]
    rng = np.random.default_rng(random_state)
    pooled = xp.concat([zs, zt], axis=0)
    # no value changes by it, and rows far from the origin keep their digits
    pooled = pooled - xp.mean(pooled, axis=0)
    widths = _bandwidths(kernel, bandwidth, xp, pooled, rng)
    if method == "auto":
        method = "exact" if max(m, n) <= max_exact else "random-features"
    info = {"kernel": kernel, "bandwidths": widths, "method": method, "rows": (m, n)}
    if method == "block":
        return _block(xp, pooled, m, widths, level=level, rng=rng, info=info)

    labels = np.zeros((m + n, 1 + n_permutations), dtype=bool)
    labels[:m, 0] = True
    for column in range(1, 1 + n_permutations):
        labels[rng.permutation(m + n)[:m], column] = True
    if kernel == "linear":
        values = _by_features(xp, pooled, labels, lambda rows: rows, unbiased)
    elif method == "exact":
        values = _by_gram(xp, pooled, labels, widths, unbiased)
    else:
        features = _fourier(xp, pooled, widths, rng)
        values = _by_features(xp, pooled, labels, features, unbiased)
    value = float(values[0])
    estimator = f"{'unbiased' if unbiased else 'biased'} MMD^2, {kernel} kernel, {method}"
    if n_permutations == 0:
        return Gap(value, estimator, info=info)
    # equal relabellings differ by rounding only and must count as equal
    tie = 1e-12 * max(1.0, float(np.abs(values).max()))
    p_value = (1 + int(np.sum(values[1:] >= value - tie))) / (1 + n_permutations)
    how = f"{estimator}; {n_permutations} permutations"
    return Gap(value, how, p_value=p_value, info=info)


def median_distance(z: Any, *, max_rows: int = 2000, random_state: int = 0) -> float:
    """Median of the positive pairwise distances, on at most `max_rows` rows; 1 if there are none.

    Parameters
    ----------
    z : array of shape (n, d)
    """
    xp = array_api_compat.array_namespace(z)
    if z.shape[0] > max_rows:
        rows = np.random.default_rng(random_state).choice(z.shape[0], max_rows, replace=False)
        z = xp.take(z, _like(xp, np.sort(rows), z), axis=0)
    z = z - xp.mean(z, axis=0)
    squared = to_numpy(_squared(xp, z, z))
    pairs = squared[np.triu_indices(len(squared), 1)]
    positive = pairs[pairs > 1e-12 * max(pairs.max(initial=0.0), 1e-300)]
    return float(np.sqrt(np.median(positive))) if positive.size else 1.0


def _bandwidths(
    kernel: str, given: Any, xp: Any, pooled: Any, rng: np.random.Generator
) -> tuple[float, ...]:
    """The b of every RBF kernel that is averaged."""
    if kernel == "linear":
        return ()
    if given is None:
        base = median_distance(pooled, random_state=int(rng.integers(2**31)))
        return tuple(base * f for f in FACTORS) if kernel == "multi" else (base,)
    widths = tuple(float(b) for b in np.atleast_1d(np.asarray(given, dtype=float)))
    if not widths or not all(np.isfinite(b) and b > 0 for b in widths):
        raise UsageError(f"bandwidths {widths}", where="mmd", why="they are positive numbers")
    return widths


def _like(xp: Any, values: Array, other: Any) -> Any:
    """A NumPy array in the namespace and on the device of `other`."""
    return xp.asarray(values, device=array_api_compat.device(other))


def _squared(xp: Any, a: Any, b: Any) -> Any:
    """(n, m) squared distances, never negative."""
    norms = xp.sum(a * a, axis=1)[:, None] + xp.sum(b * b, axis=1)[None, :]
    out = norms - 2 * (a @ b.T)
    return xp.where(out > 0, out, xp.zeros_like(out))


def _gram(xp: Any, a: Any, b: Any, widths: tuple[float, ...]) -> Any:
    """Mean of the RBF kernels; the linear kernel where there are no bandwidths."""
    if not widths:
        return a @ b.T
    squared = _squared(xp, a, b)
    return sum(xp.exp(squared / (-2 * width**2)) for width in widths) / len(widths)


def _by_gram(
    xp: Any, pooled: Any, labels: Array, widths: tuple[float, ...], unbiased: bool
) -> Array:
    """MMD^2 of every labelling (column) from one pass over the kernel matrix, in chunks."""
    count = pooled.shape[0]
    # one product K @ A serves all relabellings: a'Ka, a'K1 and 1'K1 give the three blocks
    A = xp.astype(_like(xp, labels, pooled), xp.float64)
    within = np.zeros(labels.shape[1])
    sums = np.zeros(labels.shape[1])
    total = 0.0
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        block = _gram(xp, pooled[rows, :], pooled, widths)
        within += to_numpy(xp.sum(A[rows, :] * (block @ A), axis=0))
        row_sums = xp.sum(block, axis=1)
        sums += to_numpy(row_sums @ A[rows, :])
        total += float(xp.sum(row_sums))
    m = float(labels[:, 0].sum())
    # k(x, x) = 1 for every RBF kernel
    return _combine(within, sums, total, m, count - m, m, count - m, unbiased)


def _by_features(
    xp: Any, pooled: Any, labels: Array, features: Callable[[Any], Any], unbiased: bool
) -> Array:
    """MMD^2 of every labelling from explicit features: O(rows) time and bounded memory."""
    count, m = pooled.shape[0], float(labels[:, 0].sum())
    source: Any = 0.0
    total: Any = 0.0
    diagonal, trace = np.zeros(labels.shape[1]), 0.0
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        phi = features(pooled[rows, :])
        A = xp.astype(_like(xp, labels[rows], pooled), xp.float64)
        source = source + A.T @ phi
        total = total + xp.sum(phi, axis=0)
        norms = xp.sum(phi * phi, axis=1)
        diagonal += to_numpy(norms @ A)
        trace += float(xp.sum(norms))
    within = to_numpy(xp.sum(source * source, axis=1))
    sums = to_numpy(source @ total)
    return _combine(
        within, sums, float(total @ total), m, count - m, diagonal, trace - diagonal, unbiased
    )


def _combine(
    within: Array, sums: Array, total: float, m: float, n: float, ds: Any, dt: Any, unbiased: bool
) -> Array:
    """MMD^2 from the sums of the kernel over source pairs, source-all pairs and all pairs."""
    other, cross = total - 2 * sums + within, sums - within
    if unbiased:
        value = (within - ds) / (m * (m - 1)) + (other - dt) / (n * (n - 1)) - 2 * cross / (m * n)
    else:
        value = within / m**2 + other / n**2 - 2 * cross / (m * n)
    return np.asarray(value)


def _fourier(
    xp: Any, pooled: Any, widths: tuple[float, ...], rng: np.random.Generator
) -> Callable[[Any], Any]:
    """Random Fourier features; cosine and sine of one frequency, so that k(x, x) = 1 exactly."""
    share = max(1, FEATURES // (2 * len(widths)))
    drawn = [rng.standard_normal((pooled.shape[1], share)) / width for width in widths]
    frequencies = _like(xp, np.concatenate(drawn, axis=1), pooled)
    scale = (share * len(widths)) ** -0.5

    def features(rows: Any) -> Any:
        angles = rows @ frequencies
        return xp.concat([xp.cos(angles), xp.sin(angles)], axis=1) * scale

    return features


def _block(
    xp: Any,
    pooled: Any,
    m: int,
    widths: tuple[float, ...],
    *,
    level: float,
    rng: np.random.Generator,
    info: dict[str, Any],
) -> Gap:
    """Mean of the U-statistic over disjoint blocks, whose spread gives interval and p-value."""
    from scipy.stats import t

    n = pooled.shape[0] - m
    size = max(2, int(min(m, n) ** 0.5))
    count = min(m, n) // size
    if count < 2:
        raise UsageError(
            f"{m} and {n} rows are too few for blocks", where="mmd", remedy="Use method='exact'"
        )
    source = rng.permutation(m)[: count * size].reshape(count, size)
    target = m + rng.permutation(n)[: count * size].reshape(count, size)
    values = np.empty(count)
    for position, (rows_s, rows_t) in enumerate(zip(source, target)):
        rows = np.concatenate([rows_s, rows_t])
        block = xp.take(pooled, _like(xp, rows, pooled), axis=0)
        gram = to_numpy(_gram(xp, block, block, widths))
        inner = gram - np.diag(np.diag(gram))
        same = inner[:size, :size].sum() + inner[size:, size:].sum()
        values[position] = same / (size * (size - 1)) - 2 * gram[:size, size:].mean()
    how = f"mean over {count} blocks of {size} rows a side"
    interval = mean_and_spread(values, level=level, how=f"t {how}")
    error = float(np.std(values, ddof=1)) / count**0.5
    p_value = float(t.sf(interval.value / error, count - 1)) if error > 0 else 1.0
    return Gap(interval.value, f"MMD^2, {how}", interval, p_value, info={**info, "blocks": count})
