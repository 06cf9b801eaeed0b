"""Layer 4: what the density-ratio methods share: row order, Gaussian kernels, widths, draws."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from isthmus.adapt.base import Checked
from isthmus.adapt.weights import finish
from isthmus.errors import UsageError
from isthmus.types import Adaptation, Array, Trouble

KEYS = 16  # columns that put rows in order; more would only break ties between near-duplicates
LOOKED = 10_000_000_000  # products that a search for neighbours in groups may take: some seconds
SAMPLE = 300  # rows behind a median distance: 45,000 pairs, their median known to a percent or two


@dataclass(frozen=True)
class Canonical:
    """Both domains in float64, rows sorted by value: the order they came in cannot matter.

    Random draws (kernel centres, folds) then depend on the seed and the values only.

    Parameters
    ----------
    order_s, order_t : ndarray of int
        Positions of the sorted rows among the rows that came in.
    """

    given: Checked
    xp: ModuleType
    Xs: Any
    Xt: Any
    order_s: Array
    order_t: Array

    def result(self, ratio: Any, *, clip: float, **info: Any) -> Adaptation:
        """Ratios of the sorted source rows -> an Adaptation in the rows' own order."""
        return self.weighted(ratio, (), clip=clip, **info)

    def weighted(
        self, ratio: Any, troubles: tuple[Trouble, ...], *, clip: float, **info: Any
    ) -> Adaptation:
        """As `result`, with troubles that the method met on its way."""
        back = take(self.xp, ratio, np.argsort(self.order_s))
        weights, found, figures = finish(self.xp, back, clip=clip)
        weights = self.xp.astype(weights, self.given.Xs.dtype, copy=False)
        return Adaptation(
            self.given.Xs, weights=weights, troubles=troubles + found, info={**figures, **info}
        )


def canonical(given: Checked) -> Canonical:
    """Sort the rows of both domains (labels break ties between equal source rows)."""
    xp = given.xp
    order_s = sorting(given.Xs, given.codes if len(given.codes) else None)
    order_t = sorting(given.Xt)
    return Canonical(
        given,
        xp,
        take(xp, xp.astype(given.Xs, xp.float64, copy=False), order_s),
        take(xp, xp.astype(given.Xt, xp.float64, copy=False), order_t),
        order_s,
        order_t,
    )


def host(values: Any) -> Array:
    """A NumPy copy or view of an array that may live on a device."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def sorting(X: Any, codes: Array | None = None) -> Array:
    """Positions that sort rows by their first columns; rounding to float32 keeps the order."""
    keys = list(host(X[:, :KEYS]).T)
    if codes is not None:
        keys.append(codes)
    return np.asarray(np.lexsort(keys[::-1]))


def take(xp: Any, X: Any, rows: Array) -> Any:
    """Rows of an array of any namespace by NumPy positions."""
    index = xp.asarray(np.ascontiguousarray(rows), device=array_api_compat.device(X))
    return xp.take(X, index, axis=0)


def draw(n: int, size: int, seed: int) -> Array:
    """Up to `size` positions below n, without replacement, in random order."""
    return np.asarray(np.random.default_rng(seed).permutation(n)[:size])


def some_rows(X: Array, most: int, rng: np.random.Generator) -> Array:
    """Positions of at most `most` rows; which ones does not follow from their order."""
    if len(X) <= most:
        return np.arange(len(X))
    return np.asarray(sorting(X)[np.sort(rng.permutation(len(X))[:most])])


def folds_of(n: int, k: int, seed: int) -> Array:
    """(n,) fold number of each row, sizes as even as possible."""
    out = np.empty(n, dtype=np.int64)
    out[np.random.default_rng(seed).permutation(n)] = np.arange(n) % k
    return out


def probes(queries: int, points: int, groups: int, width: int, *, least: int) -> int:
    """Into how many of the groups of points each query may look: `LOOKED` products in all.

    At least `least`, and all of them where that is allowed: the search is then brute force.
    """
    each = queries * max(points // groups, 1) * max(width, 40)
    return min(max(least, LOOKED // each), groups)


def squared_distances(xp: Any, A: Any, B: Any) -> Any:
    """(n, m) squared Euclidean distances, never below zero.

    Both sides are moved by the mean of B first: far from the origin the expansion
    ``a.a + b.b - 2 a.b`` would cancel.
    """
    centre = xp.mean(B, axis=0)
    A, B = A - centre, B - centre
    out = (A * -2.0) @ B.T
    out += xp.sum(A * A, axis=1)[:, None]
    out += xp.sum(B * B, axis=1)[None, :]
    return xp.maximum(out, xp.zeros_like(out[:1, :1]))


def gaussian(xp: Any, squared: Any, width: float) -> Any:
    """``exp(-squared / (2 width^2))``."""
    return xp.exp(squared * (-0.5 / width**2))


def rbf(xp: Any, A: Any, B: Any, gamma: float) -> Any:
    """(n, m) kernel ``exp(-gamma |a - b|^2)``, its exponent by one product of matrices.

    ``-|a - b|^2 / 2 = a.b - a.a/2 - b.b/2``: the squares enter as two columns more on either side.
    """
    centre = xp.mean(B, axis=0)
    scale = (2.0 * gamma) ** 0.5
    A, B = (A - centre) * scale, (B - centre) * scale
    a, b = (-0.5 * xp.sum(X * X, axis=1)[:, None] for X in (A, B))
    left = xp.concat([A, a, xp.ones_like(a)], axis=1)
    exponent = left @ xp.concat([B, xp.ones_like(b), b], axis=1).T
    # in place: at this size fresh memory costs as much as the product
    xp.minimum(exponent, xp.zeros_like(exponent[:1, :1]), out=exponent)
    return xp.exp(exponent, out=exponent)


def median_distance(data: Canonical, seed: int) -> float:
    """Median distance between different rows of both domains pooled; 1.0 if all are equal.

    From at most `SAMPLE` rows, each domain with its share.
    """
    xp, n_s, n_t = data.xp, data.Xs.shape[0], data.Xt.shape[0]
    keep = min(1.0, SAMPLE / (n_s + n_t))
    rows = xp.concat(
        [
            take(xp, X, draw(X.shape[0], max(1, round(keep * X.shape[0])), seed))
            for X in (data.Xs, data.Xt)
        ]
    )
    # both halves and the diagonal: a pair that counts twice does not move a median, and rounding
    # leaves equal rows a little apart; a width of that size would be an identity kernel
    squared = host(squared_distances(xp, rows, rows)).ravel()
    equal = int(np.count_nonzero(squared <= 1e-12 * max(float(squared.max()), 1e-300)))
    if equal == squared.size:
        return 1.0
    middle = equal + (squared.size - equal) // 2
    return float(np.sqrt(np.partition(squared, middle)[middle]))


def approximate(solver: str, rows: int, max_exact: int) -> bool:
    """Whether the approximate solver runs.

    Raises
    ------
    UsageError
        If `solver` is unknown.
    """
    if solver not in ("auto", "exact", "approximate"):
        raise UsageError(
            f"solver={solver!r}", remedy='Use "auto", "exact" or "approximate"', where="solver"
        )
    return solver == "approximate" or (solver == "auto" and rows > max_exact)


def as_like(xp: Any, values: Array, like: Any) -> Any:
    """A NumPy vector in the namespace and on the device of another array."""
    return xp.asarray(values, device=array_api_compat.device(like))
