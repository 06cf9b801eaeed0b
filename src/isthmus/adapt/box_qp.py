"""Layer 4: convex quadratic programs with a box and a bound on the sum, by accelerated gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np


def solve(
    xp: Any,
    times: Callable[[Any], Any],
    linear: Any,
    *,
    upper: float,
    low: float,
    high: float,
    tol: float,
    max_iter: int,
) -> tuple[Any, float, float, int]:
    """``min 1/2 w'Kw - linear'w`` for ``0 <= w <= upper`` and ``low <= sum w <= high``.

    FISTA (Beck and Teboulle 2009) with backtracking and gradient restart (O'Donoghue and Candes
    2015) in the metric ``M = a I + b 11'/n``: the mean direction of a kernel is by far its
    stiffest, and taken apart it no longer shortens every step. K enters by products only: one a
    step, none for the check of the step length.

    Parameters
    ----------
    times : callable
        w (n,) -> K w, K positive semi-definite.
    linear : array of shape (n,)
    tol : float
        Stop when the duality gap is below ``tol`` times the size of the objective.

    Returns
    -------
    w : array of shape (n,)
    objective : float
    gap : float
        Frank-Wolfe duality gap: the optimum is at most that far below `objective`.
    iterations : int
    """
    n = linear.shape[0]
    w = xp.ones_like(linear) * min(max(1.0, low / n), high / n, upper)
    Kw = times(w)
    flat = 2.0 * float(xp.sum(times(xp.ones_like(linear)))) / n
    bound = top_eigenvalue(xp, times, linear)
    ahead, K_ahead, momentum = w, Kw, 1.0
    best = (float("inf"), w, Kw)
    gap, step, shift = float("inf"), 0, 0.0
    for step in range(max_iter + 1):
        if step % 10 == 0 or step == max_iter:
            value = 0.5 * float(w @ Kw) - float(linear @ w)
            if value < best[0]:
                best = (value, w, Kw)
            slope = best[2] - linear
            gap = float(slope @ best[1]) - lowest(slope, upper, low, high)
            if gap <= tol * max(abs(best[0]), 1e-12):
                break
        slope = K_ahead - linear
        while True:
            mean = float(xp.sum(slope)) / n
            goal = ahead - (slope - mean) / bound - mean / (bound + flat)
            new, shift = project(xp, goal, upper, low, high, stiff=flat / bound, start=shift)
            K_new = times(new)
            move = new - ahead
            # exact curvature along the move: the step is too long where it exceeds the bound
            total = float(xp.sum(move))
            allowed = bound * float(move @ move) + flat * total**2 / n
            if float(move @ (K_new - K_ahead)) <= allowed * (1 + 1e-6) + 1e-300:
                break
            bound *= 1.3
        along = new - w
        uphill = bound * float(move @ along) + flat * total * float(xp.sum(along)) / n < 0
        if uphill:
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        push = (momentum - 1) / following
        ahead, K_ahead = new + push * (new - w), K_new + push * (K_new - Kw)
        w, Kw, momentum = new, K_new, following
    return best[1], best[0], max(gap, 0.0), step


def top_eigenvalue(xp: Any, times: Callable[[Any], Any], like: Any) -> float:
    """Largest eigenvalue among vectors of sum 0, a little low or high: the caller backtracks."""
    v = times(xp.ones_like(like))
    value = 1.0
    for _ in range(6):
        v = v - xp.mean(v)
        size = float(v @ v) ** 0.5
        if not size > 1e-12:
            return max(value, 1e-6)
        v = v / size
        u = times(v)
        value = float(v @ u)
        v = u
    return max(1.05 * value, 1e-6)


def project(
    xp: Any, v: Any, upper: float, low: float, high: float, *, stiff: float = 0.0, start: float = 0
) -> tuple[Any, float]:
    """Nearest feasible point in the metric ``I + stiff 11'/n``, and its shift.

    The solution is ``clip(v - t)`` for one shift t: zero of
    ``t - stiff/n (sum clip(v - t) - sum v)``, or the shift at which a bound on the sum holds.

    Parameters
    ----------
    start : float, default=0
        A first guess of the shift: that of a problem nearby.
    """
    n = v.shape[0]
    pull, before = stiff / n, float(xp.sum(v))
    like: Any = {"dtype": v.dtype, "device": array_api_compat.device(v)}
    zero, top = xp.asarray(0.0, **like), xp.asarray(upper, **like)

    def at(shift: float) -> tuple[Any, float]:
        # not xp.clip: its checks cost more than the work on so few numbers
        out = xp.minimum(xp.maximum(v - shift, zero), top)
        return out, float(xp.sum(out))

    def root(goal: float | None) -> tuple[Any, float, float]:
        """Safeguarded Newton on a descending piecewise linear function of the shift."""
        left, right, shift = float(xp.min(v)) - upper, float(xp.max(v)), start
        if goal is None:  # |shift| <= stiff max|sum clip - sum v| / n
            left, right = min(left, -pull * abs(before) - 1), right + pull * n * upper + 1
        for _ in range(100):
            out, total = at(shift)
            off = pull * (total - before) - shift if goal is None else total - goal
            if abs(off) <= 1e-9 * max(1.0, abs(shift) if goal is None else goal):
                break
            left, right = (shift, right) if off > 0 else (left, shift)
            free = int(xp.count_nonzero((out > zero) & (out < top)))
            slope = 1.0 + pull * free if goal is None else float(free)
            shift = shift + off / slope if slope else 0.5 * (left + right)
            if not left < shift < right:
                shift = 0.5 * (left + right)
        return out, total, shift

    out, total, shift = root(None) if stiff else (*at(0.0), 0.0)
    if total < low or total > high:
        out, _, shift = root(low if total < low else high)
    return out, shift


def lowest(slope: Any, upper: float, low: float, high: float) -> float:
    """Smallest ``slope . s`` over the feasible set: fill the smallest slopes first."""
    values = slope.detach().cpu() if hasattr(slope, "detach") else slope
    values = np.sort(np.asarray(values))
    before = np.arange(len(values)) * upper
    must = np.clip(low - before, 0.0, upper)
    may = np.clip(high - before, 0.0, upper)
    return float(values @ np.where(values < 0, may, must))
