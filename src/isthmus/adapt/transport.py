"""Layer 4: what the transport adapters share: cost, plan by POT, barycentric images, mini-batches.

The solvers are POT's (Python Optimal Transport); this module feeds them and judges what they say.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np

from isthmus.adapt.base import Checked
from isthmus.adapt.weights import finish
from isthmus.errors import UsageError, need
from isthmus.types import Adaptation, Array, Trouble

MANY = 100_000  # source rows at which the adapters' own sizes of a mini-batch hold
EMPTY = 1e-12  # of its own mass: what solvers leave by rounding; such a row has no image


def pot() -> Any:
    """POT, imported on first use: it loads torch where torch is installed."""
    return need("ot", extra="transport")


@dataclass(frozen=True)
class Solved:
    """One plan and how sure its solver is.

    Parameters
    ----------
    plan : array of shape (n, m)
    error : float
        Marginal error: sum of absolute differences, as a share of the mass (balanced problems),
        or the solver's own residual.
    failure : str
        Empty when converged; else the fact.
    remedy : str
    """

    plan: Any
    error: float = 0.0
    failure: str = ""
    remedy: str = ""


Solve = Callable[[Any, Any, Any, "Array | None"], Solved]  # cost, a, b, class codes of the rows


@dataclass(frozen=True)
class Carried:
    """Source rows after transport.

    Parameters
    ----------
    images : array of shape (n_s, d), float64
        Barycentric images; a row without mass stays where it was.
    mass : array of shape (n_s,), float64
        Transported share of each row's own mass, 1 = all of it.
    """

    images: Any
    mass: Any
    troubles: tuple[Trouble, ...]
    info: dict[str, Any]


@contextmanager
def heard() -> Iterator[list[str]]:
    """POT reports through UserWarning and floating-point noise; they become entries of a list.

    Warnings of other kinds are passed on as they came.
    """
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with np.errstate(all="ignore"):
            yield said
    for item in caught:
        if issubclass(item.category, (UserWarning, RuntimeWarning)):
            said.append(str(item.message))
        else:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)


def to_numpy(x: Any) -> Array:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def cost_matrix(Xs: Any, Xt: Any) -> tuple[Any, float]:
    """Squared Euclidean costs (n, m) in units of their median, and that median.

    Where more than half of the costs are zero the mean stands in, and 1 where all are.
    """
    cost = pot().dist(Xs, Xt, metric="sqeuclidean")
    unit = float(np.median(to_numpy(cost))) or float(cost.mean()) or 1.0
    return cost / unit, unit


def marginal_error(plan: Any, a: Any, b: Any) -> float:
    """``sum |plan 1 - a| + sum |plan' 1 - b|`` over the mass of `a`."""
    off = abs(plan.sum(axis=1) - a).sum() + abs(plan.sum(axis=0) - b).sum()
    return float(off / a.sum())


def finite(x: Any) -> bool:
    return bool(np.isfinite(float(x.sum())))


def earth_mover(cost: Any, a: Any, b: Any, *, max_iter: int) -> Solved:
    """`ot.emd`: an optimal vertex of the transport polytope, by network simplex."""
    with heard() as said:
        plan, log = pot().emd(a, b, cost, numItermax=max_iter, log=True)
    error = marginal_error(plan, a, b)
    if log["warning"] is None and error < 1e-6:
        return Solved(plan, error)
    return Solved(plan, error, log["warning"] or "; ".join(said) or "infeasible", "Raise max_iter")


def entropic(
    cost: Any, a: Any, b: Any, *, reg: float, max_iter: int, tol: float, log_domain: bool | str
) -> Solved:
    """`ot.sinkhorn`, in the log domain where asked for or (``"auto"``) where the other fails."""
    stop = tol / float(len(b)) ** 0.5  # POT stops on the 2-norm, and |x|_1 <= sqrt(m) |x|_2
    methods = ["sinkhorn", "sinkhorn_log"]
    if log_domain != "auto":
        methods = methods[1:] if log_domain else methods[:1]
    plan, numeric = None, False
    for method in methods:
        with heard() as said:
            plan = pot().sinkhorn(
                a, b, cost, reg, method=method, numItermax=max_iter, stopThr=stop, warn=False
            )
        numeric = not finite(plan) or any("numerical" in text for text in said)
        if not numeric:
            break
    remedy = f"Use a larger reg (now {reg:g} of the median cost) or max_iter (now {max_iter})"
    if numeric:
        if log_domain is False:
            remedy = "Use the log-domain solver (log_domain=True), or a larger reg"
        return Solved(plan, float("nan"), f"reg={reg:g} is below what floats can hold", remedy)
    error = marginal_error(plan, a, b)
    failure = "" if error <= tol else f"Sinkhorn did not converge in {max_iter} iterations"
    return Solved(plan, error, failure, remedy)


def barycentric(xp: Any, plan: Any, Xt: Any, Xs: Any) -> tuple[Any, Any]:
    """Images ``(plan @ Xt) / (plan 1)`` and row masses; rows without mass stay as in `Xs`."""
    mass = xp.sum(plan, axis=1)
    moved = mass * mass.shape[0] > EMPTY
    safe = xp.where(moved, mass, xp.ones_like(mass))
    images = xp.where(moved[:, None], (plan @ Xt) / safe[:, None], Xs)
    return images, xp.where(moved, mass, xp.zeros_like(mass))


def shuffled(X: Any, rng: np.random.Generator) -> Array:
    """A random order of the rows that does not depend on the order in which they came.

    Rows are sorted along a random direction first; equal rows are interchangeable.
    """
    key = to_numpy(X @ like(X, rng.standard_normal(X.shape[1])))
    return np.argsort(key, kind="stable")[rng.permutation(len(key))]


def batch_rows(
    n: int, given: int | None, *, base: int, of: int, most: int, power: float = 2 / 3
) -> int:
    """Rows of a mini-batch of n where the user leaves it open (`given` is None).

    `base` of `of` rows, and more where there are fewer rows: ``base (of / n)^power``. The larger
    a batch, the nearer its plan is to the one of all rows. At most `most`.
    """
    if given is None:
        given = max(base, int(base * (of / n) ** power))
    return max(2, min(given, most))


def mini_batch(
    n: int,
    m: int,
    given: int | None,
    *,
    solver: str,
    max_exact: int,
    base: int,
    of: int,
    rows: int | None = None,
    cells: int = 1,
    power: float = 2 / 3,
) -> int | None:
    """Rows of a mini-batch for a plan of n x m, or None where one plan holds all rows.

    Parameters
    ----------
    rows : int, optional
        What the size of a batch follows from; default: n.
    given, base, of, power
        As for `batch_rows`.
    solver, max_exact, cells
        As for `carry`.

    Raises
    ------
    UsageError
        If `solver` is unknown.
    """
    if solver not in ("auto", "exact", "approximate"):
        raise UsageError(f"solver={solver!r}", remedy="Use auto, exact or approximate")
    if solver == "exact" or (solver == "auto" and n * m * cells <= max_exact**2):
        return None
    most = int((max_exact**2 / cells) ** 0.5)
    batch = batch_rows(rows or n, given, base=base, of=of, most=most, power=power)
    return None if given is None and max(n, m) <= batch else batch


def blocks(
    Xs: Any, Xt: Any, *, batch: int, rounds: int, seed: int
) -> Iterator[tuple[Array, Array]]:
    """Pairs of row numbers: every source row once a round, target rows in turn."""
    rng = np.random.default_rng(seed)
    n, m = Xs.shape[0], Xt.shape[0]
    width, at = min(batch, m), 0
    target = shuffled(Xt, rng)
    for _ in range(rounds):
        for rows in np.array_split(shuffled(Xs, rng), -(-n // batch)):
            if at + width > m:
                target, at = shuffled(Xt, rng), 0
            yield rows, target[at : at + width]
            at += width


def carry(
    given: Checked,
    solve: Solve,
    *,
    solver: str,
    max_exact: int,
    batch: int | None,
    base: int,
    rounds: int,
    random_state: int,
    cells: int = 1,
    target_mass: float = 1.0,
) -> Carried:
    """Source rows moved by the barycentric projection of the plans that `solve` returns.

    Parameters
    ----------
    solver : {"auto", "exact", "approximate"}
        One plan for all rows, or one for each pair of random blocks (mini-batch transport: Fatras
        et al., *Minibatch optimal transport distances*, 2021), averaged over rounds.
    max_exact : int
        ``"auto"``: one plan up to ``max_exact ** 2`` cells.
    batch : int or None
        Rows of a block; None: `base` of `MANY`, more where there are fewer (`batch_rows`). Where
        one block holds all rows the plan is the exact one.
    rounds : int
        How often each source row is transported in mini-batches.
    cells : int
        Numbers that the solver holds for each cell of the plan, in units of one plan.
    target_mass : float
        Total mass of the target; the source has 1.
    """
    for name, number in (("max_exact", max_exact), ("batch", batch), ("rounds", rounds)):
        if number is not None and number < 1:
            raise UsageError(f"{name}={number}", remedy=f"{name} must be at least 1")
    xp = given.xp
    Xs, Xt = (xp.astype(X, xp.float64, copy=False) for X in (given.Xs, given.Xt))
    n, m = Xs.shape[0], Xt.shape[0]
    size = mini_batch(
        n, m, batch, solver=solver, max_exact=max_exact, base=base, of=MANY, cells=cells
    )
    exact = size is None
    if size is None:
        pairs: Any = [(None, None)]
    else:
        pairs = blocks(Xs, Xt, batch=size, rounds=rounds, seed=random_state)
    images, mass = xp.zeros_like(Xs), xp.zeros_like(Xs[:, 0])
    failed: list[Solved] = []
    units, errors, count = [], [], 0
    for rows, columns in pairs:
        S, T = (Xs, Xt) if rows is None else (_take(xp, Xs, rows), _take(xp, Xt, columns))
        codes = given.codes if rows is None or not len(given.codes) else given.codes[rows]
        cost, unit = cost_matrix(S, T)
        a = xp.ones_like(S[:, 0]) / S.shape[0]
        b = xp.ones_like(T[:, 0]) * (target_mass / T.shape[0])
        solved = solve(cost, a, b, codes)
        count += 1
        units.append(unit)
        errors.append(solved.error)
        failed += [solved] if solved.failure else []
        if not finite(solved.plan):
            moved, share = S, xp.ones_like(a)  # said below: never a silent wrong map
        else:
            moved, share = barycentric(xp, solved.plan, T, S)
            share = share * S.shape[0]
        if rows is None:
            images, mass = moved, share
        else:
            where = like(Xs, rows)
            images[where] += moved / rounds
            mass[where] += share / rounds
    troubles: tuple[Trouble, ...] = ()
    if failed:
        worst = max(failed, key=lambda s: np.nan_to_num(s.error, nan=np.inf))
        of = "" if exact else f" in {len(failed)} of {count} mini-batches"
        reason = f"{worst.failure}{of}; marginal error {worst.error:.2g} of the mass"
        troubles = (Trouble("not-converged", reason, worst.remedy),)
    info = {
        "solver": "exact" if exact else "mini-batch",
        "plans": count,
        "median_cost": float(np.mean(units)),
        "marginal_error": float(np.max(errors)),
    }
    return Carried(images, mass, troubles, info)


def weighted(given: Checked, got: Carried, *, clip: float, weigh: bool) -> Adaptation:
    """The adaptation whose weights are the transported masses, clipped and of mean 1."""
    xp = given.xp
    out = xp.astype(got.images, given.Xs.dtype, copy=False)
    info = got.info | {"moved": float(xp.mean(got.mass))}
    if not weigh:
        return Adaptation(out, troubles=got.troubles, info=info)
    weights, troubles, more = finish(xp, got.mass, clip=clip)
    weights = xp.astype(weights, given.Xs.dtype, copy=False)
    return Adaptation(out, weights, troubles=got.troubles + troubles, info=info | more)


def positive(who: str, **numbers: float) -> None:
    """Refuse parameters that must be positive numbers."""
    for name, number in numbers.items():
        if not number > 0:
            raise UsageError(f"{name}={number}", where=who, remedy=f"{name} must be positive")


def _take(xp: Any, X: Any, rows: Array) -> Any:
    return xp.take(X, like(X, rows), axis=0)


def like(X: Any, values: Array) -> Any:
    """`values` in the namespace and on the device of `X`."""
    xp = array_api_compat.array_namespace(X)
    return xp.asarray(values, device=array_api_compat.device(X))
