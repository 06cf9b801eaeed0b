"""Class-regularised transport: a target row should draw its mass from one source class."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.transport import (
    Solved,
    carry,
    finite,
    heard,
    like,
    marginal_error,
    positive,
    pot,
)
from isthmus.errors import DataError, UsageError
from isthmus.types import Adaptation

BATCH = 150  # rows of a mini-batch of 100,000


class ClassRegularizedTransport(Adapter):
    """Entropic transport with a group penalty on the classes, by `ot.da`.

    ``min <P, C> + reg sum P log P + trade_off sum_jc g(P_(class c, j))`` where g is the 2-norm
    (``"l1l2"``) or the square root of the 1-norm (``"lpl1"``): Courty, Flamary, Tuia and
    Rakotomamonjy, *Optimal transport for domain adaptation*, PAMI 2017, eq. 17 and 20.

    Parameters
    ----------
    reg : float, default=0.05
        Entropy, in units of the median cost.
    trade_off : float, default=0.1
        Weight of the group penalty, in units of the median cost. For ``"lpl1"`` masses are
        counted in target rows (POT's smoothing constant of 1e-3 is absolute; with masses of 1/n
        it would swallow the penalty as n grows).
    penalty : {"lpl1", "l1l2"}, default="lpl1"
        ``"l1l2"`` is convex, several times slower, and its penalty is small beside the cost:
        to act it needs a `trade_off` of 10 to 100.
    max_iter, inner_iter : int, default=10, 1000
        Majorisation (``"lpl1"``) or gradient steps (``"l1l2"``), and Sinkhorn iterations in each.
    tol : float, default=1e-3
        Marginal error (share of the mass) above which a ``not-converged`` trouble is returned.
    solver, max_exact, batch, rounds, random_state
        Defaults "auto", 5000, by size, 1 and 0. As in `EMDTransport`. POT holds
        ``n_s n_t n_classes`` numbers here, so one plan is solved up to ``max_exact ** 2`` of
        those, mini-batches of at most as many beyond.

    Notes
    -----
    The source is moved onto the target; `map_target` is the identity for new target rows.
    Needs class labels; there is no version for regression.
    """

    family = "transport"
    extra = "transport"
    needs_labels = True

    def __init__(
        self,
        reg: float = 0.05,
        trade_off: float = 0.1,
        *,
        penalty: str = "lpl1",
        max_iter: int = 10,
        inner_iter: int = 1000,
        tol: float = 1e-3,
        solver: str = "auto",
        max_exact: int = 5000,
        batch: int | None = None,
        rounds: int = 1,
        random_state: int = 0,
    ) -> None:
        self.reg, self.trade_off, self.penalty = reg, trade_off, penalty
        self.max_iter, self.inner_iter, self.tol = max_iter, inner_iter, tol
        self.solver, self.max_exact, self.batch = solver, max_exact, batch
        self.rounds, self.random_state = rounds, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        who = "ClassRegularizedTransport"
        if self.penalty not in ("lpl1", "l1l2"):
            raise UsageError(f"penalty={self.penalty!r}", where=who, remedy="Use lpl1 or l1l2")
        positive(who, reg=self.reg, tol=self.tol, max_iter=self.max_iter)
        given = check_domains(Xs, ys, Xt, labels=True, who=who)
        if given.classes.dtype.kind == "f" and (given.classes % 1 != 0).any():
            raise DataError(
                "the source labels are fractions, not classes",
                where=who,
                remedy="Use SinkhornTransport or JDOTRegressor for regression",
            )
        solve = partial(
            _solve,
            penalty=self.penalty,
            reg=self.reg,
            trade_off=self.trade_off,
            max_iter=self.max_iter,
            inner_iter=self.inner_iter,
            tol=self.tol,
        )
        got = carry(
            given,
            solve,
            solver=self.solver,
            max_exact=self.max_exact,
            batch=self.batch,
            base=BATCH,
            rounds=self.rounds,
            random_state=self.random_state,
            cells=len(given.classes),
        )
        out = given.xp.astype(got.images, given.Xs.dtype, copy=False)
        return Adaptation(out, troubles=got.troubles, info=got.info)


def _solve(
    cost: Any,
    a: Any,
    b: Any,
    codes: Any,
    *,
    penalty: str,
    reg: float,
    trade_off: float,
    max_iter: int,
    inner_iter: int,
    tol: float,
) -> Solved:
    rows = len(b)
    _, codes = np.unique(codes, return_inverse=True)  # a mini-batch may lack classes
    labels = like(cost, codes)
    with heard():
        if penalty == "lpl1":
            plan = pot().da.sinkhorn_lpl1_mm(
                a * rows,
                labels,
                b * rows,
                cost,
                reg,
                eta=trade_off,
                numItermax=max_iter,
                numInnerItermax=inner_iter,
                stopInnerThr=0.1 * tol * rows**0.5,  # 2-norm; the mass is `rows`
            )
            plan = plan / rows
        else:
            plan = pot().da.sinkhorn_l1l2_gl(
                a,
                labels,
                b,
                cost,
                reg,
                eta=trade_off,
                numItermax=max_iter,
                numInnerItermax=inner_iter,
            )
    if not finite(plan):
        fact = f"reg={reg:g} is below what floats can hold"
        return Solved(plan, float("nan"), fact, "Use a larger reg or a smaller trade_off")
    error = marginal_error(plan, a, b)
    fact = "" if error <= tol else f"the inner Sinkhorn did not converge in {inner_iter} iterations"
    return Solved(plan, error, fact, f"Use a larger reg (now {reg:g}) or inner_iter")
