"""Layer 4: biased regularisation: target loss, and a penalty on the distance to source weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from isthmus.adapt.density import draw, sorting
from isthmus.adapt.linear_source import LinearSource
from isthmus.adapt.sides import deal
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble

Loss = Literal["logistic", "squared_hinge"]
# In units of the features' total variance; infinity is the source model itself.
GRID = (np.inf, *(10.0 ** (0.5 * i) for i in range(6, -9, -1)))
DEFAULT = 0.1  # where nothing can be held out: C = 10 / variance, as in the logistic head
PATIENCE = 3  # values of the path in a row that lose before the walk ends
LEVEL = 1e-3  # relative loss that counts as more
REPEAT_BELOW = 500  # rows under which the folds are dealt three times


class Shrunk:
    """Linear scores near those of a source model, in the basis of the labelled rows.

    ``sum_i loss(z_i, y_i) + strength / 2 (|W - W0|^2 + |c - c0|^2 / unit^2)`` with
    ``z = (x - centre) W' + c``. The score at the mean row is penalised in the features' own unit
    (not at all if `free`), so neither the origin nor the scale of the features matters.
    Deviations from the source lie in the span of the rows: R holds the rows in that basis.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Labelled rows.
    source : LinearSource
    centre, variance : ndarray of shape (d,), float
        Mean row, and mean squared distance of a row to it.
    free : bool
        Leave the score at the mean row unpenalised.
    shape : ndarray of shape (d + 1,), optional
        How far each weight, and the score at the mean row, may move: the root of a prior
        variance in units of ``1 / strength``. Default: all alike.
    """

    def __init__(
        self,
        X: Array,
        source: LinearSource,
        *,
        centre: Array,
        variance: float,
        free: bool,
        shape: Array | None = None,
    ) -> None:
        self.centre, self.free, self.source = centre, free, source
        self.unit = (variance / max(len(centre), 1)) ** 0.5 or 1.0
        self.shape = np.ones(len(centre) + (not free)) if shape is None else shape
        self.anchor = source.coef @ centre + source.intercept  # (K,) score at the mean row
        self.base = self.from_source(X)
        self.R, self.V, self.s2 = basis(self.design(X))

    def from_source(self, X: Array) -> Array:
        """(n, K) what the source says of rows."""
        return np.asarray((X - self.centre) @ self.source.coef.T + self.anchor)

    def design(self, X: Array) -> Array:
        """(n, d) or, with the score at the mean row, (n, d + 1) penalised columns, scaled."""
        A = np.asarray(X - self.centre, dtype=np.float64)
        if not self.free:
            A = np.column_stack([A, np.full(len(A), self.unit)])
        A *= self.shape
        return A

    def loss(self, z: Array, y: Array, kind: Loss) -> tuple[Array, Array]:
        """(n,) losses and (n, K) their slopes; y (n,) codes, or (n, K) signs."""
        if kind == "squared_hinge":
            gap = np.maximum(1 - y * z, 0.0)
            return (gap**2).sum(axis=1), -2 * y * gap
        if z.shape[1] == 1:
            loss = np.logaddexp(0.0, -y * z)
            return loss[:, 0], -y * np.exp(-np.logaddexp(0.0, y * z))
        top = z.max(axis=1, keepdims=True)
        p = np.exp(z - top)
        total = p.sum(axis=1, keepdims=True)
        at = (np.arange(len(z)), y)
        loss = np.log(total[:, 0]) + top[:, 0] - z[at]
        p /= total
        p[at] -= 1.0
        return loss, p

    def solve(
        self,
        y: Array,
        kind: Loss,
        strength: float,
        *,
        rows: Array | None = None,
        start: Array | None = None,
        tol: float,
        max_iter: int,
    ) -> tuple[Array, bool]:
        """Deviations (K, r + free) from the source, and whether the gradient fell below tol.

        L-BFGS in coordinates where the curvature is nearly one: the basis is orthogonal, each
        direction is scaled by the root of its penalty plus its share of the loss.
        """
        R, base = (self.R, self.base) if rows is None else (self.R[rows], self.base[rows])
        n, K, r = len(base), base.shape[1], R.shape[1]
        bend = 1.0 if kind == "squared_hinge" else 0.15
        kept = r
        if np.isinf(strength):
            if not self.free:
                return np.zeros((K, r)), True
            R, kept, strength = R[:, :0], 0, 0.0
        scale = np.sqrt(strength + bend * self.s2[:kept] * (n / len(self.base)))
        penalty = np.full(kept, strength)
        if self.free:
            scale, penalty = np.append(scale, (bend * n) ** 0.5), np.append(penalty, 0.0)

        def value(flat: Array) -> tuple[float, Array]:
            t = flat.reshape(K, -1) / scale
            z = base + R @ t[:, :kept].T
            if self.free:
                z += t[:, -1]
            loss, slope = self.loss(z, y, kind)
            down = penalty * t
            down[:, :kept] += slope.T @ R
            if self.free:
                down[:, -1] += slope.sum(axis=0)
            return float(loss.sum() + 0.5 * (penalty * t**2).sum()), (down / scale).ravel()

        first = np.zeros((K, len(scale)))
        size = float(np.linalg.norm(value(first.ravel())[1]))
        if start is not None:
            first = (start if len(scale) == start.shape[1] else start[:, -1:]) * scale
        goal = tol * max(size, 1e-6 * n)
        found = minimize(
            value,
            first.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": max_iter,
                "maxfun": 2 * max_iter,
                "maxcor": 20,
                "ftol": 0.0,
                "gtol": goal / max(first.size, 1) ** 0.5,
            },
        )
        fine = float(np.linalg.norm(value(found.x)[1])) <= 10 * goal
        out = found.x.reshape(K, -1) / scale
        if kept < r:  # only the score at the mean row moved
            out = np.column_stack([np.zeros((K, r)), out])
        return out, fine

    def scores(self, t: Array, rows: Array) -> Array:
        """(rows, K) scores of labelled rows under deviations `t`."""
        z = self.base[rows] + self.R[rows] @ t[:, : self.R.shape[1]].T
        return np.asarray(z + t[:, -1] if self.free else z)

    def weights(self, t: Array) -> tuple[Array, Array]:
        """(K, d) and (K,) coefficients and intercepts."""
        step = t[:, : self.R.shape[1]] @ self.V * self.shape  # (K, d + not free)
        d = len(self.centre)
        coef = self.source.coef + step[:, :d]
        c = self.anchor + (t[:, -1] if self.free else step[:, d] * self.unit)
        return coef, c - coef @ self.centre


def basis(A: Array) -> tuple[Array, Array, Array]:
    """``A = R V`` with orthonormal rows of V (r, d), and the squared lengths of R's columns."""
    n, d = A.shape
    gram = A @ A.T if n <= d else A.T @ A
    values, vectors = np.linalg.eigh(gram)
    kept = values > max(float(values[-1]), 0.0) * max(n, d) * np.finfo(float).eps
    values, vectors = values[kept], vectors[:, kept]
    if n <= d:
        root = values**0.5
        return vectors * root, (vectors / root).T @ A, values
    return A @ vectors, vectors.T, values


def spread(X: Array) -> tuple[Array, float]:
    """Mean row and mean squared distance to it (1 if all rows are equal)."""
    centre = X.mean(axis=0, dtype=np.float64)
    variance = float(X.var(axis=0, dtype=np.float64).sum())
    return centre, variance if variance > 0 else 1.0


@dataclass(frozen=True)
class Choice:
    """A strength, where it comes from, and the held-out loss of every one tried."""

    strength: float
    how: str
    losses: dict[float, float]


def strengths(given: Any, variance: float) -> list[float]:
    """Values to try, strongest first.

    Raises
    ------
    UsageError
        If one is negative or not a number.
    """
    if isinstance(given, str):
        if given != "cv":
            raise UsageError(f"strength={given!r}", remedy='Use "cv", a number or numbers')
        return [g * variance for g in GRID]
    values = sorted({float(v) for v in np.atleast_1d(np.asarray(given, dtype=float))}, reverse=True)
    if not values or any(not v >= 0 for v in values):
        raise UsageError(f"strength={given!r}", why="strengths are 0 or more")
    return values


def choose(
    problem: Shrunk,
    X: Array,
    codes: Array,
    targets: Callable[[Array], Array],
    kind: Loss,
    values: Sequence[float],
    *,
    variance: float,
    cv: int,
    max_rows: int,
    seed: int,
) -> Choice:
    """Cross-validate the strength on labelled target rows, from strong to weak.

    The walk ends when the held-out loss has been above the least one three times in a row.
    """
    if len(values) == 1:
        return Choice(values[0], "given", {})
    if len(X) < 2:
        start = DEFAULT * variance
        best = min(values, key=lambda v: abs(np.log(max(v, 1e-300)) - np.log(start)))
        return Choice(best, "one labelled row: nothing can be held out", {})
    rows, pairs = held_out(X, codes, cv=cv, max_rows=max_rows, seed=seed)
    if problem.free:  # without a penalty on it a class that is absent has no score
        pairs = [(a, b[np.isin(codes[b], codes[a])]) for a, b in pairs]
        pairs = [(a, b) for a, b in pairs if len(b) and len(np.unique(codes[a])) > 1]
        if not pairs:
            return Choice(DEFAULT * variance, "every class has one labelled row", {})
    starts: list[Array | None] = [None] * len(pairs)
    losses: dict[float, float] = {}
    worse, best = 0, np.inf
    truth = np.concatenate([codes[test] for _, test in pairs])
    for value in values:
        held = []
        for i, (train, test) in enumerate(pairs):
            t, _ = problem.solve(
                targets(train), kind, value, rows=train, start=starts[i], tol=1e-4, max_iter=200
            )
            starts[i] = t
            held.append(problem.scores(t, test))
        losses[value] = calibrated_loss(np.concatenate(held), truth)
        # level ground is no reason to stop: an opposite source gives the loss of a guess for long
        worse = worse + 1 if losses[value] > best * (1 + LEVEL) else 0
        best = min(best, losses[value])
        if worse >= PATIENCE:
            break
    chosen = min(losses, key=lambda v: losses[v])
    how = f"held-out log-loss over {len(pairs)} folds of {len(rows)} labelled target rows"
    return Choice(chosen, how, losses)


def held_out(
    X: Array, codes: Array, *, cv: int, max_rows: int, seed: int
) -> tuple[Array, list[tuple[Array, Array]]]:
    """Rows in use (at most `max_rows`), and (train, test) positions of the folds over them."""
    rows = np.arange(len(X))
    if len(X) > max_rows:
        rows = sorting(X, codes)[np.sort(draw(len(X), max_rows, seed))]
    folds = max(2, min(cv, len(rows)))
    pairs = []
    for repeat in range(3 if folds < len(rows) < REPEAT_BELOW else 1):
        fold = deal(X[rows], codes[rows], folds, seed + repeat)
        pairs += [(rows[fold != f], rows[fold == f]) for f in range(folds) if (fold == f).any()]
    return rows, pairs


def calibrated_loss(z: Array, codes: Array) -> float:
    """Mean log-loss of scores at their best temperature.

    A source model may be far too sure of the target, or not sure enough; at the temperature as it
    is the comparison would be about that, not about which classes are told apart.
    """
    if z.shape[1] == 1:
        z = np.column_stack([np.zeros(len(z)), z])
    at = np.arange(len(z)), codes
    size = float(np.abs(z - z.mean(axis=1, keepdims=True)).mean()) or 1.0

    def loss(log_heat: float) -> float:
        heated = z * (np.exp(log_heat) / size)
        heated -= heated.max(axis=1, keepdims=True)
        return float((np.log(np.exp(heated).sum(axis=1)) - heated[at]).mean())

    found = minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded", options={"xatol": 1e-3})
    return float(found.fun)


def not_converged(max_iter: int, who: str) -> Trouble:
    """The trouble of a fit that stopped early."""
    return Trouble(
        "not-converged",
        f"{who} stopped before the gradient vanished (max_iter={max_iter})",
        "Raise max_iter, or use a larger strength",
    )
