"""Layer 5: preconditioned L-BFGS for penalised logistic losses, several folds in one pass.

All problems share the rows and differ in which rows they train on, so one block of rows is read
once and multiplied with the coefficients of every fold: one wide matrix product instead of many
narrow ones. The product also yields the logits of the held-out rows, so scoring costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from isthmus.fit.rows import Rows, RowsEach
from isthmus.types import Array

Loss = Literal["softmax", "sigmoid"]
_MAX_TRIALS = 25


@dataclass
class Pass:
    """What one reading of the rows says about each problem (all arrays lead with problems)."""

    value: Array  # (P,) objective
    gradient: Array  # (P, K, r + 1)
    held: Array  # (P,) weighted loss on held-out rows
    right: Array  # (P,) weighted number of held-out rows predicted right (0 unless asked for)
    curvature: Array | None = None  # (P, K) mean p (1 - p) over training rows, where asked for


class Objective:
    """``C sum_i w_i loss_i + 1/2 ||W||^2`` on the training rows of each problem.

    Parameters
    ----------
    rows : Rows or RowsEach
        All problems share the rows, or each sees them in its own way.
    targets : (n,) int codes for softmax, (n, K) float 0/1 for sigmoid
    weights : (n,) float64
    outputs : int
        K columns of coefficients.
    tests : (P, n) bool or None
        Held-out and scored rows of each problem; None: one problem that trains on all rows.
    trains : (P, n) bool or float, or None
        Training rows of each problem; a number is a factor of the row's weight there.
    """

    def __init__(
        self,
        rows: Rows | RowsEach,
        targets: Array,
        weights: Array,
        *,
        outputs: int,
        loss: Loss,
        trains: Array | None = None,
        tests: Array | None = None,
        count_right: bool = False,
    ) -> None:
        self.rows, self.targets, self.weights = rows, targets, weights
        self.K, self.loss = outputs, loss
        self.trains, self.tests, self.count_right = trains, tests, count_right
        self.P = 1 if trains is None else len(trains)
        self.mass = weights.sum(keepdims=True) if trains is None else trains @ weights  # (P,)
        self.held_mass = (
            np.zeros(self.P) if tests is None else np.array([weights[mask].sum() for mask in tests])
        )

    def start(self, dtype: Any) -> Array:
        """(P, K, r + 1): zero coefficients, intercepts at the class shares."""
        theta = np.zeros((self.P, self.K, self.rows.r + 1), dtype=dtype)
        factors = np.ones((1, self.rows.n)) if self.trains is None else self.trains
        for p, factor in enumerate(factors):
            w, least = self.weights * factor, 0.1 / np.count_nonzero(factor)
            if self.loss == "softmax":
                share = np.bincount(self.targets, w, minlength=self.K) / w.sum()
                logit = np.log(np.maximum(share, least))
                theta[p, :, -1] = logit - logit.mean()
            else:
                share = np.clip((w @ self.targets) / w.sum(), least, 1 - least)
                theta[p, :, -1] = np.log(share / (1 - share))
        return theta

    def read(self, theta: Array, which: Array, C: float, *, curvature: bool = False) -> Pass:
        """One pass over the rows for the problems `which` at `theta` (A, K, r + 1)."""
        dtype, A, K = theta.dtype, len(which), self.K
        W = self.rows.push(theta[:, :, :-1].reshape(A * K, -1))
        b = theta[:, :, -1, None]
        gW = np.zeros(W.shape, dtype=dtype)
        gb = np.zeros((A, K))
        value, held, right = np.zeros(A), np.zeros(A), np.zeros(A)
        bend = np.zeros((A, K)) if curvature else None
        for part, block in self.rows.blocks(dtype, A * K, which):
            z = _scores(W, block, A)
            z += b
            weights = self.weights[part]
            hit = self._hits(z, part) if self.count_right and self.tests is not None else None
            loss, p = self._loss(z, part)
            if self.trains is None:
                train = np.broadcast_to(weights, (A, len(weights)))
            else:
                train = self.trains[which, part] * weights
            value += np.einsum("ai,ai->a", loss, train)
            if self.tests is not None:
                test = self.tests[which, part] * weights
                held += np.einsum("ai,ai->a", loss, test)
                if hit is not None:
                    right += np.einsum("ai,ai->a", hit, test)
            if bend is not None:
                bend += (p * (1 - p) @ train.astype(dtype)[:, :, None])[:, :, 0]
            self._residual(p, part)
            p *= train.astype(dtype)[:, None, :]
            gb += p.sum(axis=2, dtype=np.float64)
            gW += _sums(p, block)
        gradient = np.empty(theta.shape, dtype=dtype)
        gradient[:, :, :-1] = C * self.rows.pull(gW).reshape(A, K, -1) + theta[:, :, :-1]
        gradient[:, :, -1] = C * gb
        penalty = 0.5 * np.einsum("akr,akr->a", *(theta[:, :, :-1].astype(np.float64),) * 2)
        if bend is not None:
            bend /= self.mass[which][:, None]
        return Pass(C * value + penalty, gradient, held, right, bend)

    def logits_held_out(self, theta: Array, folds: int) -> tuple[Array, Array]:
        """Logits of each row from the first problem (of `folds`) that held it out.

        Returns
        -------
        logits : (n, K) float32
        rows : (n,) bool
            Rows that were held out (and whose class the training part knew).
        """
        assert self.tests is not None
        tests = self.tests[:folds]
        W = self.rows.push(theta[:folds, :, :-1].reshape(folds * self.K, -1))
        b = theta[:folds, :, -1, None]
        out = np.zeros((self.rows.n, self.K), dtype=np.float32)
        for part, block in self.rows.blocks(theta.dtype, folds * self.K, np.arange(folds)):
            z = _scores(W, block, folds) + b
            for f in range(folds):
                mine = np.flatnonzero(tests[f, part])
                out[part.start + mine] = z[f][:, mine].T
        return out, np.asarray(tests.any(axis=0))

    def _loss(self, z: Array, part: slice) -> tuple[Array, Array]:
        """(A, c) losses and (A, K, c) probabilities; z is overwritten."""
        if self.loss == "sigmoid":
            y = self.targets[part].T.astype(z.dtype, copy=False)  # (K, c)
            e = np.exp(-np.abs(z))
            loss = np.log1p(e) + np.maximum(z, 0) - y * z
            p = np.where(z >= 0, 1, e) / (1 + e)
            return loss.sum(axis=1), p
        codes = self.targets[part]
        z -= z.max(axis=1, keepdims=True)
        own = z[:, codes, np.arange(len(codes))]
        np.exp(z, out=z)
        total = z.sum(axis=1)
        loss = np.log(total) - own
        z *= (1 / total)[:, None, :]
        return loss, z

    def _residual(self, p: Array, part: slice) -> None:
        """Probabilities minus targets, in place."""
        if self.loss == "sigmoid":
            p -= self.targets[part].T.astype(p.dtype, copy=False)
        else:
            codes = self.targets[part]
            p[:, codes, np.arange(len(codes))] -= 1

    def _hits(self, z: Array, part: slice) -> Array:
        """(A, c) share of a row's labels predicted right."""
        if self.loss == "sigmoid":
            return ((z > 0) == (self.targets[part].T > 0.5)).mean(axis=1)
        return (z.argmax(axis=1) == self.targets[part]).astype(np.float64)


def _scores(W: Array, block: Array, A: int) -> Array:
    """(A, K, c) products of the coefficients (A K, r) with a block, one wide product if shared."""
    if block.ndim == 2:
        return np.asarray(W @ block.T).reshape(A, -1, len(block))
    return np.matmul(W.reshape(A, -1, W.shape[1]), block.swapaxes(1, 2))


def _sums(p: Array, block: Array) -> Array:
    """(A K, r) sums of a block's rows, weighted by p (A, K, c)."""
    if block.ndim == 2:
        return np.asarray(p.reshape(-1, len(block)) @ block)
    return np.matmul(p, block).reshape(-1, block.shape[2])


def metric(objective: Objective, curvature: Array, C: float) -> Array:
    """(P, K, r + 1) approximate Hessian diagonal: ``C m h_k spectrum + 1``; intercept ``C m h_k``.

    With h_k = 1/2 this is Böhning's upper bound; the mean of p (1 - p) at the warm start is the
    typical curvature, which is what makes a unit step nearly a Newton step.
    """
    scale = C * objective.mass[:, None] * np.maximum(curvature, 1e-6)
    M = np.empty((*curvature.shape, objective.rows.r + 1))
    spectrum = np.broadcast_to(objective.rows.spectrum, (len(M), M.shape[2] - 1))
    M[:, :, :-1] = scale[:, :, None] * spectrum[:, None, :] + 1.0
    M[:, :, -1] = np.maximum(scale, 1e-12)
    return M


# (which, theta, gradient, metric, held) of A problems -> (A,) bool: this problem is done.
Stop = Callable[[Array, Array, Array, Array, Array], Array]


@dataclass
class Solution:
    """Where each problem ended."""

    theta: Array  # (P, K, r + 1)
    held: Array  # (P,) weighted held-out loss
    right: Array  # (P,)
    passes: int
    converged: Array  # (P,) bool


def minimise(
    objective: Objective,
    theta: Array,
    C: float,
    *,
    stop: Stop,
    max_passes: int,
    memory: int = 8,
) -> Solution:
    """L-BFGS on every problem at once; a problem that has converged leaves the pass.

    Parameters
    ----------
    theta : (P, K, r + 1)
        Start; its dtype is the dtype of the work.
    stop : callable
        (which, theta, gradient, metric, held) -> bool per problem.
    max_passes : int
        Readings of the data at most.
    """
    theta = theta.copy()
    P = objective.P
    every = np.arange(P)
    first = objective.read(theta, every, C, curvature=True)
    assert first.curvature is not None
    M = metric(objective, first.curvature, C).astype(theta.dtype)
    value, gradient, held, right = first.value, first.gradient, first.held, first.right
    pairs: list[deque[tuple[Array, Array, float]]] = [deque(maxlen=memory) for _ in range(P)]
    passes, eps = 1, 64 * np.finfo(theta.dtype).eps
    converged = stop(every, theta, gradient, M, held)
    active = every[~converged]
    while len(active) and passes < max_passes:
        step = np.stack([_direction(gradient[p], M[p], pairs[p]) for p in active])
        if objective.loss == "softmax":
            # At the optimum the K coefficients of a feature sum to zero; steps stay there.
            step -= step.mean(axis=1, keepdims=True)
        slope = _dot(step, gradient[active])
        trial = np.ones(len(active))
        todo = np.arange(len(active))
        stalled = np.zeros(len(active), dtype=bool)
        for attempt in range(_MAX_TRIALS):
            which = active[todo]
            ahead = theta[which] + trial[todo, None, None].astype(theta.dtype) * step[todo]
            seen = objective.read(ahead, which, C)
            passes += 1
            change = seen.value - value[which]
            # A row's loss is the difference of numbers of order one or more.
            noise = eps * (np.abs(value[which]) + C * objective.mass[which])
            new_slope = _dot(step[todo], seen.gradient)
            # Armijo, or where rounding hides the decrease the slope must not have turned steep.
            good = (change <= 1e-4 * trial[todo] * slope[todo]) | (
                (change <= noise) & (np.abs(new_slope) <= 0.9 * np.abs(slope[todo]))
            )
            for i in np.flatnonzero(good):
                p = which[i]
                s, y = ahead[i] - theta[p], seen.gradient[i] - gradient[p]
                sy = float(np.vdot(s, y))
                if sy > 1e-10 * float(np.vdot(y, y / M[p])):
                    pairs[p].append((s, y, 1.0 / sy))
                theta[p], gradient[p], value[p] = ahead[i], seen.gradient[i], seen.value[i]
                held[p], right[p] = seen.held[i], seen.right[i]
            bad = todo[~good]
            if not len(bad):
                break
            if attempt == _MAX_TRIALS - 1 or passes >= max_passes:
                stalled[bad] = True
                break
            t, down, up = trial[bad], slope[bad], change[~good]
            hidden = up <= noise[~good]  # rounding hides the values: interpolate the slopes
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                best = np.where(
                    hidden,
                    t * down / (down - new_slope[~good]),
                    -0.5 * down * t**2 / (up - down * t),
                )
            best = np.where(np.isfinite(best), best, 0.5 * t)
            trial[bad] = np.clip(best, 0.1 * t, np.where(hidden, 0.9, 0.5) * t)
            flat = np.abs(trial[bad] * down) < noise[~good] * (1e-2 if attempt > 3 else 1e-9)
            stalled[bad[flat]] = True  # nothing left but rounding
            todo = bad[~flat]
            if not len(todo):
                break
        done = stop(active, theta[active], gradient[active], M[active], held[active])
        converged[active[done]] = True
        active = active[~(done | stalled)]
    return Solution(theta, held, right, passes, converged)


def _dot(a: Array, b: Array) -> Array:
    """(A,) inner products in float64."""
    return np.array([np.vdot(x, y) for x, y in zip(a, b, strict=True)], dtype=np.float64)


def _direction(g: Array, M: Array, pairs: deque[tuple[Array, Array, float]]) -> Array:
    """Two-loop recursion with the metric as the initial Hessian (Nocedal & Wright, alg. 7.4)."""
    q = g.copy()
    alphas = []
    for s, y, rho in reversed(pairs):
        alpha = rho * float(np.vdot(s, q))
        alphas.append(alpha)
        q -= g.dtype.type(alpha) * y
    if pairs:
        s, y, rho = pairs[-1]
        q *= g.dtype.type(1.0 / (rho * float(np.vdot(y, y / M))))
    q /= M
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        q += g.dtype.type(alpha - rho * float(np.vdot(y, q))) * s
    return -q
