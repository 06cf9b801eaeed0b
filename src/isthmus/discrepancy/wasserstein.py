"""Wasserstein distances: sliced (by sorting) and entropic (Sinkhorn, through POT)."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from isthmus.discrepancy.base import Gap, check_pair, mean_and_spread, to_numpy
from isthmus.errors import UsageError, need
from isthmus.types import Array, Interval, Trouble

CELLS = 4_000_000  # projected values in memory at a time
STOP = 1e-6  # marginal error at which Sinkhorn ends


def sliced_wasserstein(
    zs: Any,
    zt: Any,
    *,
    p: float = 2.0,
    n_projections: int = 200,
    level: float = 0.95,
    random_state: int = 0,
) -> Gap:
    """Mean Wasserstein distance of one-dimensional projections (Bonneel et al. 2015).

    ``(mean over directions u of W_p(zs u, zt u)^p)^(1/p)``, every W_p exact by sorting.

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy or torch.
    p : float, default=2.0
        At least 1.
    n_projections : int, default=200
        Random directions; in one dimension one is enough and exact.
    level : float, default=0.95
    random_state : int, default=0

    Returns
    -------
    Gap
        In units of the features. The interval is the Monte-Carlo error of the random
        directions, not that of the sample. Two samples of one distribution are not at 0:
        ``info["chance"]`` is the figure for the pooled rows dealt out at random.

    Notes
    -----
    Cost O(n log n) a direction, memory bounded.
    """
    if p < 1 or n_projections < 1:
        raise UsageError(f"p={p}, n_projections={n_projections}", where="sliced_wasserstein")
    xp, zs, zt = check_pair(zs, zt, who="sliced_wasserstein", least=1)
    width = zs.shape[1]
    directions = np.random.default_rng(random_state).standard_normal((width, n_projections))
    if width == 1:
        directions = np.ones((1, 1))
    directions = directions / np.linalg.norm(directions, axis=0)
    origin = xp.mean(zs, axis=0)  # the same for both: nothing but rounding changes
    zs, zt = zs - origin, zt - origin
    powers = _along(xp, zs, zt, directions, p)
    mean = mean_and_spread(powers, level=level, how="")
    value = float(max(mean.value, 0.0) ** (1 / p))
    mixed = _mixed(xp, zs, zt, np.random.default_rng(random_state))
    info = {"chance": float(_along(xp, *mixed, directions, p).mean() ** (1 / p))}
    how = f"sliced W_{p:g}, {directions.shape[1]} directions"
    if directions.shape[1] == 1:
        return Gap(value, how if width > 1 else f"W_{p:g} in one dimension, exact", info=info)
    low, high = (max(end, 0.0) ** (1 / p) for end in (mean.low, mean.high))
    words = f"Monte-Carlo error of {directions.shape[1]} directions"
    return Gap(value, how, Interval(value, low, high, level=level, how=words), info=info)


def _mixed(xp: Any, zs: Any, zt: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """The pooled rows dealt out at random: two samples of one distribution, sizes as given."""
    pooled = xp.concat([zs, zt], axis=0)
    order = xp.asarray(rng.permutation(pooled.shape[0]), device=array_api_compat.device(zs))
    pooled = xp.take(pooled, order, axis=0)
    return pooled[: zs.shape[0], :], pooled[zs.shape[0] :, :]


def _along(xp: Any, zs: Any, zt: Any, directions: Array, p: float) -> Array:
    """(P,) W_p^p of the projections, a few directions at a time."""
    step = max(1, CELLS // (zs.shape[0] + zt.shape[0]))
    powers = []
    for start in range(0, directions.shape[1], step):
        u = xp.asarray(directions[:, start : start + step], device=array_api_compat.device(zs))
        powers.append(to_numpy(_line(xp, zs @ u, zt @ u, p)))
    return np.concatenate(powers)


def _line(xp: Any, a: Any, b: Any, p: float) -> Any:
    """(P,) W_p^p of the columns of a and b: the quantile functions, both step functions."""
    a, b = xp.sort(a, axis=0), xp.sort(b, axis=0)
    m, n = a.shape[0], b.shape[0]
    if m == n:
        return xp.mean(xp.abs(a - b) ** p, axis=0)
    # jumps of both quantile functions as integers, so that equal jumps are equal
    ends = np.union1d(np.arange(1, m + 1) * n, np.arange(1, n + 1) * m)
    starts = np.concatenate([[0], ends[:-1]])
    device = array_api_compat.device(a)
    rows_a, rows_b = (xp.asarray(starts // size, device=device) for size in (n, m))
    mass = xp.asarray((ends - starts) / (m * n), device=device)
    gaps = xp.abs(xp.take(a, rows_a, axis=0) - xp.take(b, rows_b, axis=0)) ** p
    return mass @ gaps


def entropic_wasserstein(
    zs: Any,
    zt: Any,
    *,
    reg: float = 0.05,
    max_rows: int = 1000,
    n_draws: int = 3,
    max_iter: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> Gap:
    """Sinkhorn divergence with squared distances as cost (Feydy et al. 2019, eq. 3).

    ``OT_e(s, t) - OT_e(s, s) / 2 - OT_e(t, t) / 2``: without the last two terms two equal sets
    would not be at 0. It tends to the squared W_2 for small `reg` and to the squared distance of
    the means for large `reg`.

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy or torch; POT solves in the namespace given.
    reg : float, default=0.05
        Strength of the entropy in units of the mean cost between the domains.
    max_rows : int, default=1000
        Beyond it the divergence of `n_draws` random samples of this many rows a side is averaged
        (Fatras et al. 2020), which is biased upwards; the interval is that of the draws.
    n_draws, max_iter, level, random_state
        Draws, Sinkhorn iterations, coverage, seed.

    Returns
    -------
    Gap
        In squared units of the features. Two samples of one distribution are not at 0, in many
        dimensions far from it: compare with ``info["chance"]``, the figure for the (sampled)
        pooled rows dealt out at random. Never negative but for the solver's tolerance. A solver
        that did not reach it is reported in ``troubles``.

    Raises
    ------
    MissingExtraError
        If POT is not installed.
    """
    who = "entropic_wasserstein"
    need("ot", extra="transport")
    if reg <= 0:
        raise UsageError(f"reg={reg}", where=who, why="it is positive")
    xp, zs, zt = check_pair(zs, zt, who=who, least=1)
    rng = np.random.default_rng(random_state)
    large = max(zs.shape[0], zt.shape[0]) > max_rows
    values, errors = [], []
    for draw in range(n_draws if large else 1):
        a, b = (_draw(xp, z, max_rows, rng) for z in (zs, zt))
        strength = reg * max(float(xp.mean(_costs(xp, a, b))), 1e-300)
        value, error = _divergence(xp, a, b, strength, max_iter)
        values.append(value)
        errors.append(error)
        if draw == 0:
            chance, _ = _divergence(xp, *_mixed(xp, a, b, rng), strength, max_iter)
    troubles: tuple[Trouble, ...] = ()
    if max(errors) > 1e-4:
        troubles = (
            Trouble(
                "not-converged",
                f"Sinkhorn left a marginal error of {max(errors):.1e} after {max_iter} iterations",
                "Use a larger reg or more iterations",
            ),
        )
    value = float(np.mean(values))
    info = {"reg": reg, "rows": (int(zs.shape[0]), int(zt.shape[0])), "chance": chance}
    how = f"Sinkhorn divergence, reg {reg:g} of the mean cost"
    if not large:
        return Gap(value, how, troubles=troubles, info=info)
    words = f"t over {n_draws} draws of at most {max_rows} rows a side"
    interval = mean_and_spread(np.array(values), level=level, how=words)
    return Gap(value, f"{how}, {words[7:]}", interval, troubles=troubles, info=info)


def _draw(xp: Any, z: Any, most: int, rng: np.random.Generator) -> Any:
    """All rows, or `most` at random."""
    if z.shape[0] <= most:
        return z
    rows = np.sort(rng.choice(z.shape[0], most, replace=False))
    return xp.take(z, xp.asarray(rows, device=array_api_compat.device(z)), axis=0)


def _costs(xp: Any, a: Any, b: Any) -> Any:
    """(n, m) squared distances, from rows near the origin for the sake of their digits."""
    origin = xp.mean(a, axis=0)
    a, b = a - origin, b - origin
    out = xp.sum(a * a, axis=1)[:, None] + xp.sum(b * b, axis=1)[None, :] - 2 * (a @ b.T)
    return xp.where(out > 0, out, xp.zeros_like(out))


def _divergence(xp: Any, a: Any, b: Any, strength: float, max_iter: int) -> tuple[float, float]:
    """Sinkhorn divergence and the largest marginal error of its three parts."""
    cross, error = _dual(xp, a, b, strength, max_iter)
    own = [_self_dual(xp, side, strength, max_iter) for side in (a, b)]
    return cross - (own[0][0] + own[1][0]) / 2, max(error, own[0][1], own[1][1])


def _dual(xp: Any, a: Any, b: Any, strength: float, max_iter: int) -> tuple[float, float]:
    """Optimal value of entropic transport by its dual, and the marginal error left.

    With u, v the log scalings that POT returns (P = exp(-M / e + u + v)) the potentials are
    f = e (u - log a), g = e (v - log b) and the value is <f, a> + <g, b> where P sums to 1.
    """
    ot = need("ot", extra="transport")
    m, n = a.shape[0], b.shape[0]
    device = array_api_compat.device(a)
    wa, wb = (xp.ones(k, dtype=xp.float64, device=device) / k for k in (m, n))
    costs = _costs(xp, a, b)
    with np.errstate(over="ignore"):  # POT also exponentiates the scalings, which nobody reads
        plan, log = ot.bregman.sinkhorn_log(
            wa, wb, costs, strength, numItermax=max_iter, stopThr=STOP, log=True, warn=False
        )
    f = strength * (log["log_u"] + float(np.log(m)))
    g = strength * (log["log_v"] + float(np.log(n)))
    error = float(xp.sum(xp.abs(xp.sum(plan, axis=1) - wa))) + float(
        xp.sum(xp.abs(xp.sum(plan, axis=0) - wb))
    )
    # -e (sum P - 1) keeps the value a lower bound where the solver stopped early
    value = float(xp.mean(f)) + float(xp.mean(g)) - strength * (float(xp.sum(plan)) - 1)
    return value, error


def _self_dual(xp: Any, a: Any, strength: float, max_iter: int) -> tuple[float, float]:
    """`_dual` of a set with itself: one potential, averaged steps (Feydy et al. 2019, eq. 25).

    Converges in tens of steps where alternating ones take thousands.
    """
    n = a.shape[0]
    scaled = _costs(xp, a, a) / -strength - float(np.log(n))
    f = xp.zeros(n, dtype=xp.float64, device=array_api_compat.device(a))  # in units of e
    error = np.inf
    for _ in range(max_iter):
        inner = scaled + f[None, :]
        top = xp.max(inner, axis=1)
        step = -(top + xp.log(xp.sum(xp.exp(inner - top[:, None]), axis=1)))
        # row i of the plan sums to exp(f_i - step_i) / n
        error = 2 * float(xp.mean(xp.abs(xp.exp(f - step) - 1)))
        if error < STOP:
            break
        f = (f + step) / 2
    mass = float(xp.mean(xp.exp(f - step)))
    return strength * (2 * float(xp.mean(f)) - (mass - 1)), error


def empirical_cost(a: Array, b: Array) -> Array:
    """Squared distances of NumPy rows; shared with the transport of labelled rows."""
    return np.asarray(_costs(array_api_compat.array_namespace(a), a, b))
