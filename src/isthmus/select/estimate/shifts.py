"""Layer 6: shifts made from the source alone, whose answer is known.

Each takes the labelled rows apart into a new source and a new target. What a route gains or what
an estimate of accuracy misses there is known exactly, so both can be tried before the real target.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array

logger = logging.getLogger(__name__)

KINDS = ("component", "prior", "affine", "cluster", "split")
FEWEST = 20  # rows below which no shift is made
ROWS = 2000  # rows that the components are computed from
COMPONENTS = 10


@dataclass(frozen=True)
class PseudoShift:
    """A source and a target made from one labelled domain.

    Parameters
    ----------
    kind : {"component", "prior", "affine", "cluster", "split"}
    Xs, Xt : ndarray of shape (n_s, d), (n_t, d)
    ys, yt : ndarray of shape (n_s,), (n_t,)
        Labels as they were given.
    rows_s, rows_t : ndarray of int
        Positions in the rows that were given; disjoint, and no group lies on both sides.
    strength : float
        0 ... 1, how far the sides are taken apart.
    """

    kind: str
    Xs: Array
    ys: Array
    Xt: Array
    yt: Array
    rows_s: Array
    rows_t: Array
    strength: float


def pseudo_shifts(
    Xs: Array,
    ys: Array,
    groups: Array | None = None,
    n: int = 10,
    random_state: int = 0,
    *,
    kinds: Sequence[str] = KINDS,
) -> list[PseudoShift]:
    """Make `n` shifts, the kinds in turn, strengths drawn from 0.25 ... 1.

    ``component`` parts every class along one principal component of the within-class residuals;
    ``cluster`` parts every class by its k-means clusters (other subpopulations on the two sides);
    ``prior`` draws other class shares for the two sides; ``affine`` parts at random, then moves,
    turns and scales the target; ``split`` parts at random only.

    Parameters
    ----------
    Xs : ndarray of shape (m, d)
    ys : ndarray of shape (m,)
        Labels, codes or names.
    groups : ndarray of shape (m,), optional
        Rows of one group stay on one side.
    n : int, default=10
    random_state : int, default=0
        The same arguments give the same shifts.
    kinds : sequence of str

    Returns
    -------
    list of PseudoShift
        At most `n`: a draw that leaves a side without two classes is made again a few times, then
        given up and logged. Every class of the new target is in the new source.

    Raises
    ------
    DataError
        Fewer than 20 rows, fewer than two classes or groups, or no shift could be made.
    UsageError
        An unknown kind.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise UsageError(f"no kind of shift {unknown!r}", remedy=f"Known: {', '.join(KINDS)}")
    X, y = np.asarray(Xs), np.asarray(ys)
    names, codes = np.unique(y, return_inverse=True)
    if len(X) < FEWEST or len(names) < 2:
        raise DataError(f"{len(X)} rows of {len(names)} classes", why="too few to take apart")
    if groups is None:
        units = np.arange(len(X))
    else:
        units = np.unique(np.asarray(groups), return_inverse=True)[1]
        if units.max() < 1:
            raise DataError("all rows are of one group", why="a group is not taken apart")
    rng = np.random.default_rng(random_state)
    residuals, axes, spread = _components(X, codes, rng)
    made: list[PseudoShift] = []
    for i in range(n):
        kind = kinds[i % len(kinds)]
        for _ in range(5):
            strength = float(rng.uniform(0.25, 1.0))
            to_target = _parted(kind, residuals, axes, spread, codes, units, strength, rng)
            shift = _built(kind, X, y, codes, to_target, strength, axes, spread, rng)
            if shift is not None:
                made.append(shift)
                break
        else:
            logger.info("no %s shift of %d rows could be made", kind, len(X))
    if not made:
        raise DataError(f"no shift of {len(X)} rows could be made", why="classes are too small")
    return made


def _components(X: Array, codes: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Within-class residuals (m, d), their axes (r, d) and the deviation along each (r,)."""
    from sklearn.utils.extmath import randomized_svd

    Z = np.asarray(X, dtype=np.float64)
    counts = np.bincount(codes)
    means = np.zeros((len(counts), Z.shape[1]))
    np.add.at(means, codes, Z)
    residuals = Z - (means / counts[:, None])[codes]
    part = residuals[rng.permutation(len(Z))[:ROWS]]
    r = min(COMPONENTS, *part.shape)
    seed = int(rng.integers(2**31))
    _, values, axes = randomized_svd(part, r, random_state=seed)
    kept = values > 1e-9 * max(values[0], 1e-300)
    if not kept.any():  # all rows of a class are the same
        return residuals, np.zeros((1, Z.shape[1])), np.zeros(1)
    return residuals, axes[kept], values[kept] / np.sqrt(len(part))


def _parted(
    kind: str,
    residuals: Array,
    axes: Array,
    spread: Array,
    codes: Array,
    units: Array,
    strength: float,
    rng: np.random.Generator,
) -> Array:
    """(m,) bool: rows of the new target, groups whole."""
    m, K = len(codes), int(codes.max()) + 1
    chance = rng.normal(size=m)
    if kind == "component":
        j = int(rng.integers(min(5, len(axes))))
        along = rng.choice([-1.0, 1.0]) * residuals @ axes[j] / max(spread[j], 1e-300)
        score = strength * along + (1 - strength) * chance
    elif kind == "cluster":
        score = 2 * strength * _cluster_scores(residuals @ axes.T, codes, rng) + 0.5 * chance
    else:
        score = chance
    share = np.full(K, 0.5)
    if kind == "prior":
        share = 1 / (1 + np.exp(-2 * strength * rng.normal(size=K)))
        share = np.clip(share, 0.1, 0.9)
    n_units = int(units.max()) + 1
    if n_units == m:
        return _above(score, codes, share)
    size = np.bincount(units)
    own = np.bincount(units, weights=score) / np.sqrt(size)
    if kind == "prior":  # groups rich in favoured classes go over first
        lean = np.bincount(units, weights=np.log(share / (1 - share))[codes]) / size
        own = lean + 0.5 * rng.normal(size=n_units)
    # a group has one class or several: it goes by its score among the groups of its main class
    table = np.zeros((n_units, K))
    np.add.at(table, (units, codes), 1)
    single = (table > 0).sum(axis=1).max() == 1
    main = table.argmax(axis=1) if single else np.zeros(n_units, dtype=int)
    return _above(own, main, share if single else np.full(K, 0.5))[units]


def _above(score: Array, codes: Array, share: Array) -> Array:
    """The `share` of each class with the highest scores; at least one row left on both sides."""
    out = np.zeros(len(score), dtype=bool)
    for c in np.unique(codes):
        rows = np.flatnonzero(codes == c)
        if len(rows) < 2:
            continue
        take = int(np.clip(round(share[c] * len(rows)), 1, len(rows) - 1))
        out[rows[np.argsort(-score[rows], kind="stable")[:take]]] = True
    return out


def _cluster_scores(Z: Array, codes: Array, rng: np.random.Generator) -> Array:
    """One number for each k-means cluster of each class, of unit spread."""
    from sklearn.cluster import KMeans

    out = np.zeros(len(Z))
    for c in np.unique(codes):
        rows = np.flatnonzero(codes == c)
        k = min(4, len(np.unique(Z[rows], axis=0)), max(1, len(rows) // 5))
        if k < 2:
            continue
        seed = int(rng.integers(2**31))
        own = KMeans(k, n_init=1, random_state=seed).fit_predict(Z[rows])
        out[rows] = rng.permutation(np.linspace(-1.3, 1.3, k))[own]
    return out


def _built(
    kind: str,
    X: Array,
    y: Array,
    codes: Array,
    to_target: Array,
    strength: float,
    axes: Array,
    spread: Array,
    rng: np.random.Generator,
) -> PseudoShift | None:
    """The two sides, or None where one lacks classes."""
    known = np.unique(codes[~to_target])
    to_use = to_target & np.isin(codes, known)
    rows_s, rows_t = np.flatnonzero(~to_target), np.flatnonzero(to_use)
    if len(known) < 2 or len(np.unique(codes[rows_t])) < 2:
        return None
    if min(len(rows_s), len(rows_t)) < FEWEST // 4:
        return None
    Xt = X[rows_t]
    if kind == "affine":
        Xt = _moved(Xt, strength, axes, spread, rng)
    return PseudoShift(kind, X[rows_s], y[rows_s], Xt, y[rows_t], rows_s, rows_t, strength)


def _moved(
    Xt: Array, strength: float, axes: Array, spread: Array, rng: np.random.Generator
) -> Array:
    """Rows turned among the first components, scaled feature by feature, and moved."""
    from scipy.linalg import expm

    r, d = axes.shape
    Z = np.asarray(Xt, dtype=np.float64)
    mean = Z.mean(axis=0)
    A = rng.normal(size=(r, r))
    turn = expm(strength * 0.25 * (A - A.T) / np.sqrt(2 * r))
    centred = Z - mean
    inside = centred @ axes.T
    centred = centred + (inside @ turn.T - inside) @ axes
    centred *= np.exp(0.25 * strength * rng.normal(size=d))
    step = (strength * rng.normal(size=r) * spread) @ axes
    return np.asarray(centred + mean + step, dtype=Xt.dtype if Xt.dtype.kind == "f" else float)
