"""Layer 5: ridge in closed form for a whole grid of penalties, scored on rows left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import UsageError
from isthmus.fit.folds import folds
from isthmus.fit.rows import Rows
from isthmus.types import Array, Task

# In units of (total weight x mean variance of a coordinate): free of the features' scale.
GRID = tuple(10.0 ** (0.5 * i) for i in range(-10, 9))
_MOST = 8192


@dataclass
class RidgeFit:
    """Solution for the chosen penalty."""

    coef: Array  # (t, d)
    intercept: Array  # (t,)
    alpha: float
    how: str
    losses: dict[float, float]  # alpha -> mean squared held-out error
    held_out: Array | None  # (n, t) predictions for each row without it


@dataclass
class _Spectrum:
    """Eigenvectors of one weighted scatter, targets projected on them."""

    V: Array  # (q, q)
    values: Array  # (q,)
    B: Array  # (q, t)
    centre: Array  # (q,)
    target: Array  # (t,)


def fit_ridge(
    X: Array,
    Y: Array,
    weights: Array,
    alpha: Any,
    *,
    groups: Any,
    strata: Array,
    task: Task,
    random_state: int,
) -> RidgeFit:
    """Minimise ``sum_i w_i ||y_i - W x_i - b||^2 + alpha ||W||^2``, b free.

    Without groups every candidate is scored by the closed-form leave-one-out error
    ``e_i = r_i / (1 - h_i)``. A row of weight w counts as w rows of which one is left out (all of
    it where w < 1), so weights and repeated rows agree. With groups the candidates are scored on
    five grouped folds instead, since leaving one row out would leave its group in.
    """
    if min(X.shape) > _MOST:
        raise UsageError(
            f"ridge on {X.shape[0]} rows of {X.shape[1]} features",
            why=f"its closed form needs at most {_MOST} of one of them",
            remedy="Reduce the features first: FeatureProcessor(pca=512)",
        )
    rows = Rows(X, weights, basis=False)
    whole = _spectrum(rows, Y, weights)
    grid = _grid(alpha, float(weights.sum()) * rows.total / rows.d)
    live = np.flatnonzero(weights > 0)
    held, losses, how = None, np.zeros(len(grid)), "given"
    if groups is not None and len(np.unique(np.asarray(groups)[live].astype(str))) < 2:
        how = "middle of the grid: all rows belong to one group, so no fold can leave it out"
    elif len(live) < 2:
        how = "middle of the grid: one row, so nothing can be held out"
    elif groups is not None:
        losses, held = _by_folds(rows, Y, weights, grid, live, groups, strata, task, random_state)
        how = "grouped cross-validation"
    else:
        losses, held = _leave_one_out(rows, Y, weights, grid, whole)
        how = "leave-one-out"
    chosen = int(np.argmin(losses)) if held is not None else len(grid) // 2
    if len(grid) == 1:
        how = "given"
    value = float(grid[chosen])
    W = (whole.V @ (whole.B / (whole.values + value)[:, None])).T
    coef = rows.coef(W)
    # The blocks are centred at rows.mean, so `centre` is zero up to rounding.
    intercept = whole.target - W @ whole.centre - coef @ rows.mean
    table = dict(zip(map(float, grid), map(float, losses / weights.sum()), strict=True))
    return RidgeFit(
        coef,
        intercept,
        value,
        how,
        table if held is not None else {},
        None if held is None else held[chosen],
    )


def _grid(alpha: Any, unit: float) -> Array:
    if isinstance(alpha, str):
        if alpha != "cv":
            raise UsageError(f"alpha={alpha!r}", why='known: "cv", a positive number, a grid')
        return np.array(GRID) * max(unit, 1e-12)
    try:
        values = np.unique(np.atleast_1d(np.asarray(alpha, dtype=np.float64)))
    except (TypeError, ValueError):
        raise UsageError(f"alpha={alpha!r} is no number") from None
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or values[0] <= 0:
        raise UsageError(f"alpha={alpha!r}", why="every alpha must be finite and above zero")
    return values


def _spectrum(rows: Rows, Y: Array, weights: Array) -> _Spectrum:
    mass = weights.sum()
    target = weights @ Y / mass
    S = centre = B = None
    for part, block in rows.blocks(np.float64, 0):
        w = weights[part, None]
        if S is None:
            q = block.shape[1]
            S, centre, B = np.zeros((q, q)), np.zeros(q), np.zeros((q, Y.shape[1]))
        half = np.sqrt(w) * block
        S += half.T @ half
        centre += (w * block).sum(axis=0)
        B += block.T @ (w * (Y[part] - target))
    assert S is not None and centre is not None and B is not None
    S -= np.outer(centre, centre) / mass
    values, V = np.linalg.eigh(S)
    return _Spectrum(V, np.maximum(values, 0.0), V.T @ B, centre / mass, target)


def _leave_one_out(
    rows: Rows, Y: Array, weights: Array, grid: Array, s: _Spectrum
) -> tuple[Array, list[Array]]:
    """Weighted squared errors per alpha, and the predictions themselves."""
    share = np.minimum(weights, 1.0)
    losses = np.zeros(len(grid))
    held = [np.empty(Y.shape, dtype=np.float32) for _ in grid]
    for part, block in rows.blocks(np.float64, 0):
        z = (block - s.centre) @ s.V
        square = z * z
        for a, alpha in enumerate(grid):
            inverse = 1.0 / (s.values + alpha)
            lever = share[part] * (1.0 / weights.sum() + square @ inverse)
            residual = Y[part] - s.target - z @ (s.B * inverse[:, None])
            residual /= np.maximum(1.0 - lever, 1e-10)[:, None]
            losses[a] += weights[part] @ (residual**2).sum(axis=1)
            held[a][part] = Y[part] - residual
    return losses, held


def _by_folds(
    rows: Rows,
    Y: Array,
    weights: Array,
    grid: Array,
    live: Array,
    groups: Any,
    strata: Array,
    task: Task,
    random_state: int,
) -> tuple[Array, list[Array]]:
    groups = np.asarray(groups)
    losses = np.zeros(len(grid))
    held = [np.zeros(Y.shape, dtype=np.float32) for _ in grid]
    pairs = folds(strata[live], task=task, groups=groups[live], random_state=random_state)
    for train, test in pairs:
        inside = np.zeros_like(weights)
        inside[live[train]] = weights[live[train]]
        s = _spectrum(rows, Y, inside)
        mask = np.zeros(len(weights), dtype=bool)
        mask[live[test]] = True
        for part, block in rows.blocks(np.float64, 0):
            mine = np.flatnonzero(mask[part])
            if not len(mine):
                continue
            z = (block[mine] - s.centre) @ s.V
            at = part.start + mine
            for a, alpha in enumerate(grid):
                guess = s.target + z @ (s.B / (s.values + alpha)[:, None])
                losses[a] += weights[at] @ ((Y[at] - guess) ** 2).sum(axis=1)
                held[a][at] = guess
    return losses, held
