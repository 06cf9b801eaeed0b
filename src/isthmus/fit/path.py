"""Layer 5: the regularisation path of a logistic model, walked by all folds together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.fit.folds import Fold, folds
from isthmus.fit.rows import WORK_BYTES, Rows, RowsEach
from isthmus.fit.solver import Loss, Objective, Stop, minimise
from isthmus.types import Array

log = logging.getLogger(__name__)

# The automatic grid, in units of 1 / (mean squared distance of a row to the mean), so it does not
# depend on the scale of the features. From nearly the class shares to nearly no penalty.
GRID = tuple(10.0 ** (0.5 * i) for i in range(-4, 9))
DEFAULT_GRID_POINT = 10.0  # taken where cross-validation is impossible
_CV_GAP = 2e-5  # nats a row: how far from its optimum a fold's model may be while it is compared
REPEAT_BELOW = 500  # smaller data repeat the folds three times: one deal is too noisy
_PATIENCE = 2
_AROUND = 1e-2  # how near the mean problem is solved before several like it start from there
_TOGETHER = 4_000_000  # numbers of all folds up to which they are solved in one pass


@dataclass
class Fitting:
    """Rows, targets and weights of one logistic problem.

    Parameters
    ----------
    rows : Rows
    targets : (n,) int codes for softmax, (n, outputs) float 0/1 for sigmoid
    weights : (n,) float64
    outputs : int
    loss : {"softmax", "sigmoid"}
    codes : (n,) int or None
        Class of each row; None for multi-label.
    """

    rows: Rows
    targets: Array
    weights: Array
    outputs: int
    loss: Loss
    codes: Array | None = None


@dataclass
class PathChoice:
    """What cross-validation found along the path."""

    C: float
    how: str
    scores: dict[float, list[float]]  # C -> score per fold (higher is better)
    oof: Array | None = None  # (n, outputs) held-out logits at the chosen C
    oof_rows: Array | None = None  # (n,) bool
    warm: Array | None = None  # (1, outputs, r + 1) mean of the folds' solutions


@dataclass
class _Masks:
    trains: Array  # (P, n) bool
    tests: Array  # (P, n) bool


# Features of all rows as a fold may see them: called with the positions of its training rows.
FoldFeatures = Callable[[Array], Array]


def choose_C(
    data: Fitting,
    pairs: list[Fold] | None,
    reason: str,
    *,
    grid: Any,
    scoring: str,
    one_se: bool,
    per_repeat: int,
    fold_features: FoldFeatures | None = None,
) -> PathChoice:
    """Walk the path from strong to weak regularisation with all folds in every pass.

    The walk stops when the score has been below the best one twice in a row; held-out loss has
    one valley along the path. `pairs` None means that folds are impossible, for `reason`.
    """
    values = path_grid(grid, data.rows)
    if len(values) == 1:
        return PathChoice(float(values[0]), "given", {})
    masks = None if pairs is None else _masks(data, pairs)
    if masks is None:
        C = DEFAULT_GRID_POINT / max(data.rows.total, 1e-12)
        if pairs is not None:
            reason = "no held-out row belongs to a class that its training part knows"
        return PathChoice(C, f"default {DEFAULT_GRID_POINT:g} / feature variance: {reason}", {})
    objectives = _objectives(data, masks, scoring, fold_features)
    mass = np.concatenate([o.held_mass for o in objectives])
    thetas = [o.start(np.float64 if o.rows.small else np.float32) for o in objectives]
    kept: list[list[Array]] = []
    held: list[Array] = []
    scores: dict[float, list[float]] = {}
    means: list[float] = []
    for C in values:
        best = int(np.argmax(means)) if means else None
        right, losses, passes = [], [], 0
        for i, objective in enumerate(objectives):
            sure = None
            if best is not None and scoring == "log_loss":
                start = sum(o.P for o in objectives[:i])
                sure = held[best][start : start + objective.P]
            stop = _close_enough(objective, C, sure)
            solution = minimise(objective, thetas[i], C, stop=stop, max_passes=100)
            thetas[i] = solution.theta
            passes += solution.passes
            right.append(solution.right)
            losses.append(solution.held)
        held.append(np.concatenate(losses))
        kept.append(list(thetas))
        each = np.concatenate(right) if scoring == "accuracy" else -held[-1]
        scores[float(C)] = list(map(float, each / mass))
        means.append(float(each.sum() / mass.sum()))
        log.debug("C=%g: %s %.5f after %d passes", C, scoring, means[-1], passes)
        if len(means) - 1 - int(np.argmax(means)) >= _PATIENCE:
            break
    chosen = int(np.argmax(means))
    how = f"cross-validation over {len(mass)} folds by {scoring}, {len(means)} values tried"
    if one_se and len(mass) > 1:
        error = np.std(scores[float(values[chosen])], ddof=1) / np.sqrt(len(mass))
        chosen = int(np.flatnonzero(np.array(means) >= means[chosen] - error)[0])
        how += ", strongest penalty within one standard error"
    elif chosen == len(values) - 1:
        how += ", the weakest penalty of the grid"
    oof, seen = _out_of_fold(objectives, kept[chosen], per_repeat)
    warm = None
    if fold_features is None:
        warm = kept[chosen][0].mean(axis=0, keepdims=True, dtype=np.float64)
    return PathChoice(float(values[chosen]), how, scores, oof, seen, warm)


def _masks(data: Fitting, pairs: list[Fold]) -> _Masks | None:
    """Training and scored rows of the folds that can say anything; None if none can."""
    n, weights, codes = data.rows.n, data.weights, data.codes
    trains, tests = [], []
    for train, test in pairs:
        inside, outside = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        inside[train] = weights[train] > 0
        outside[test] = weights[test] > 0
        if codes is not None:  # a class that the training part never saw cannot be scored
            known = np.bincount(codes[inside], minlength=int(codes.max()) + 1) > 0
            outside &= known[codes]
            if known.sum() < 2:
                continue
        if inside.any() and outside.any():
            trains.append(inside)
            tests.append(outside)
    return _Masks(np.array(trains), np.array(tests)) if trains else None


def _objectives(
    data: Fitting, masks: _Masks, scoring: str, fold_features: FoldFeatures | None
) -> list[Objective]:
    """One objective with all folds in it; one per fold where each has large features of its own."""

    def make(rows: Rows | RowsEach, trains: Array, tests: Array) -> Objective:
        return Objective(
            rows,
            data.targets,
            data.weights,
            outputs=data.outputs,
            loss=data.loss,
            trains=trains,
            tests=tests,
            count_right=scoring == "accuracy",
        )

    if fold_features is None:
        return [make(data.rows, masks.trains, masks.tests)]
    parts = [
        Rows(fold_features(np.flatnonzero(inside)), data.weights * inside)
        for inside in masks.trains
    ]
    if sum(part.n * part.r for part in parts) <= _TOGETHER:
        return [make(RowsEach(parts), masks.trains, masks.tests)]
    return [
        make(part, inside[None], outside[None])
        for part, inside, outside in zip(parts, masks.trains, masks.tests, strict=True)
    ]


def _out_of_fold(
    objectives: list[Objective], thetas: list[Array], per_repeat: int
) -> tuple[Array, Array]:
    """Held-out logits (n, outputs) of the first repeat's folds, and which rows have them."""
    left = per_repeat
    out = np.zeros((objectives[0].rows.n, objectives[0].K), dtype=np.float32)
    seen = np.zeros(len(out), dtype=bool)
    for objective, theta in zip(objectives, thetas, strict=True):
        count = min(left, objective.P)
        if count <= 0:
            break
        logits, rows = objective.logits_held_out(theta, count)
        out[rows], seen[rows] = logits[rows], True
        left -= count
    return out, seen


def _close_enough(objective: Objective, C: float, best_held: Array | None) -> Stop:
    """A fold's model is near enough when its objective is within `_CV_GAP` nats a row.

    Half the Newton decrement, ``1/2 g' M^-1 g``, is the distance to the optimum. Where the
    held-out loss is worse than the best so far by some margin, a twentieth of that margin will do:
    the comparison is decided, and the exact loss of a loser is of no use.
    """
    outputs = objective.K if objective.loss == "sigmoid" else 1

    def stop(which: Array, _: Array, g: Array, M: Array, held: Array) -> Array:
        gap = np.full(len(which), _CV_GAP * outputs)
        if best_held is not None:
            behind = (held - best_held[which]) / objective.held_mass[which]
            gap = np.maximum(gap, 0.05 * behind)
        left = 0.5 * np.array([np.vdot(a, a / m) for a, m in zip(g, M, strict=True)])
        return left <= gap * C * objective.mass[which]

    return stop


def path_grid(grid: Any, rows: Rows) -> Array:
    """Ascending values of C: strong regularisation first."""
    if isinstance(grid, str):
        if grid != "cv":
            raise UsageError(f"C={grid!r}", why='known: "cv", a positive number, a grid of them')
        return np.array(GRID) / max(rows.total, 1e-12)
    try:
        values = np.unique(np.atleast_1d(np.asarray(grid, dtype=np.float64)))
    except (TypeError, ValueError):
        raise UsageError(f"C={grid!r} is no number") from None
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or values[0] <= 0:
        raise UsageError(f"C={grid!r}", why="every C must be finite and above zero")
    return values


def solve(
    data: Fitting, C: float, *, tol: float, max_iter: int, warm: Array | None = None
) -> tuple[Array, Array, int, bool]:
    """Coefficients (K, d) and intercepts (K,) on all rows: `solve_each` of one problem."""
    coef, intercept, passes, done = solve_each(data, C, tol=tol, max_iter=max_iter, warm=warm)
    return coef[0], intercept[0], passes, bool(done[0])


def solve_each(
    data: Fitting,
    C: float,
    *,
    tol: float,
    max_iter: int,
    warm: Array | None = None,
    factors: Array | None = None,
) -> tuple[Array, Array, int, Array]:
    """Coefficients (P, K, d) and intercepts (P, K), to a guaranteed distance.

    The penalty makes the objective 1-strongly convex in W, so ``||W - W*|| <= ||gradient||``:
    the stop ``||gradient|| <= tol ||W||`` bounds the relative error of the coefficients by `tol`.
    float32 passes do the bulk, float64 passes finish.

    Parameters
    ----------
    factors : (P, n) float, optional
        Of the rows' weights, one problem each; default: one problem, all rows as they weigh.

    Returns
    -------
    coef, intercept, passes, converged
    """
    if warm is None and factors is not None and len(factors) > 1:
        # they differ in a few rows: all begin near where their mean ends
        middle = factors.mean(axis=0, keepdims=True)
        near, _, _ = _minimum(data, C, tol=_AROUND, max_iter=max_iter, factors=middle)
        warm = np.repeat(near, len(factors), axis=0)
    theta, passes, done = _minimum(data, C, tol=tol, max_iter=max_iter, warm=warm, factors=factors)
    rows, (P, K) = data.rows, theta.shape[:2]
    coef = rows.coef(theta[:, :, :-1].reshape(P * K, -1)).reshape(P, K, -1)
    intercept = theta[:, :, -1] - coef @ rows.mean
    if data.loss == "softmax":
        coef -= coef.mean(axis=1, keepdims=True)
        intercept -= intercept.mean(axis=1, keepdims=True)
    return coef, intercept, passes, done


def _minimum(
    data: Fitting,
    C: float,
    *,
    tol: float,
    max_iter: int,
    warm: Array | None = None,
    factors: Array | None = None,
) -> tuple[Array, int, Array]:
    """(P, K, r + 1) solutions in the coordinates of the rows, passes, which converged."""
    rows = data.rows
    objective = Objective(
        rows, data.targets, data.weights, outputs=data.outputs, loss=data.loss, trains=factors
    )
    theta = objective.start(np.float64) if warm is None else warm.astype(np.float64)
    total = float(np.sqrt(rows.total))

    def reached(limit: float, which: Array, theta: Array, g: Array) -> Array:
        size = np.linalg.norm(theta[:, :, :-1].reshape(len(theta), -1), axis=1)
        grad = np.linalg.norm(g[:, :, :-1].reshape(len(theta), -1), axis=1)
        bias = np.abs(g[:, :, -1]).max(axis=1)
        mass = C * objective.mass[which]
        floor = 1e-13 * mass * total  # no signal at all: W* is zero and has no relative error
        return np.asarray((grad <= limit * size + floor) & (bias <= limit * mass * 1e-2))

    passes, done = 0, np.zeros(objective.P, dtype=bool)
    stages = [(np.float64, tol)] if rows.small else [(np.float32, 0.7 * tol), (np.float64, tol)]
    for dtype, limit in stages:

        def stop(
            which: Array, th: Array, g: Array, M: Array, h: Array, near: float = limit
        ) -> Array:
            return reached(near, which, th, g)

        start = theta.astype(dtype)
        solution = minimise(objective, start, C, stop=stop, max_passes=max(max_iter, 1), memory=20)
        theta = solution.theta.astype(np.float64)
        passes, done = passes + solution.passes, solution.converged
        if dtype == np.float32:
            rows.release()
    return theta, passes, done


def draw_rows(n: int, d: int, codes: Array | None, groups: Any, random_state: int) -> Array | None:
    """Rows for choosing C where a float32 copy of all of them would not fit; None = all."""
    most = max(WORK_BYTES // (4 * d), 1000)
    if n <= most:
        return None
    rng = np.random.default_rng([random_state, 7])
    if groups is not None:
        _, group_codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
        rank = rng.permutation(int(group_codes.max()) + 1)[group_codes]
        order = np.lexsort((np.arange(n), rank))
        return np.sort(order[:most])
    if codes is None:
        return np.sort(rng.choice(n, most, replace=False))
    # Stratified: the same share of every class, at least 5 rows of each.
    order = np.lexsort((rng.random(n), codes))
    first = np.searchsorted(codes[order], codes[order], side="left")
    place = np.arange(n) - first
    size = np.bincount(codes)[codes[order]]
    return np.sort(order[place < np.maximum(size * (most / n), 5)])


def class_folds(
    codes: Array, weights: Array, groups: Any, *, cv: Any, random_state: int
) -> tuple[list[Fold] | None, int, str]:
    """Folds over the rows that weigh something, folds per repeat, and why there are none."""
    if not isinstance(cv, int | np.integer):
        pairs = [(np.asarray(a), np.asarray(b)) for a, b in cv]
        return pairs, len(pairs), ""
    if cv < 2:
        raise UsageError(f"cv={cv}", why="at least two folds, or give C as a number")
    live = np.flatnonzero(weights > 0)
    if np.sum(np.bincount(codes[live]) >= 2) < 2:
        return None, 0, "fewer than two classes have two rows, so nothing can be held out"
    groups = None if groups is None else np.asarray(groups)
    if groups is not None and groups.shape != codes.shape:
        raise DataError(f"groups of shape {groups.shape} for {len(codes)} rows", where="groups")
    if groups is not None and len(np.unique(groups[live].astype(str))) < 2:
        return None, 0, "all rows belong to one group, so no fold can leave it out"
    repeats = 3 if len(live) < REPEAT_BELOW else 1
    pairs = folds(
        codes[live],
        task="classification",
        groups=None if groups is None else groups[live],
        n_splits=int(cv),
        n_repeats=repeats,
        random_state=random_state,
    )
    return [(live[a], live[b]) for a, b in pairs], len(pairs) // repeats, ""
