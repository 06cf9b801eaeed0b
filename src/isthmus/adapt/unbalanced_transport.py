"""Unbalanced transport: mass may stay behind where the other domain has nothing near."""

from __future__ import annotations

from functools import partial
from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.transport import Solved, carry, finite, heard, positive, pot, weighted
from isthmus.types import Adaptation

BATCH = 1000  # rows of a mini-batch of 100,000


class UnbalancedTransport(Adapter):
    """Entropic transport with relaxed marginals, by `ot.unbalanced.sinkhorn_unbalanced`.

    ``min <P, C> + reg KL(P | a b') + relax_source KL(P 1 | a) + relax_target KL(P' 1 | b)``
    (Chizat, Peyre, Schmitzer and Vialard, *Scaling algorithms for unbalanced optimal transport
    problems*, 2018). For target sets that lack source classes: their rows keep little mass, which
    becomes the weight of the row.

    Parameters
    ----------
    reg : float, default=0.05
        Entropy, in units of the median cost.
    relax_source, relax_target : float, default=0.1, inf
        Price of mass that stays behind, in units of the median cost; ``inf``: none may. The
        default lets source rows go and serves every target row.
    weigh : bool, default=True
        Return the transported mass as weights, for estimators that take them.
    clip : float, default=20.0
        Largest weight in units of the mean.
    max_iter : int, default=1000
    tol : float, default=1e-6
        Relative change of the scalings at which the plan counts as found.
    solver, max_exact, batch, rounds, random_state
        Defaults "auto", 5000, by size, 1 and 0. As in `EMDTransport`; mini-batches of
        unbalanced transport are the robust kind (Fatras et al., *Unbalanced minibatch optimal
        transport*, 2021).

    Notes
    -----
    The source is moved onto the target; `map_target` is the identity for new target rows. A row
    whose mass is zero stays where it was.
    """

    family = "transport"
    extra = "transport"

    def __init__(
        self,
        reg: float = 0.05,
        *,
        relax_source: float = 0.1,
        relax_target: float = float("inf"),
        weigh: bool = True,
        clip: float = 20.0,
        max_iter: int = 1000,
        tol: float = 1e-6,
        solver: str = "auto",
        max_exact: int = 5000,
        batch: int | None = None,
        rounds: int = 1,
        random_state: int = 0,
    ) -> None:
        self.reg, self.relax_source, self.relax_target = reg, relax_source, relax_target
        self.weigh, self.clip, self.max_iter, self.tol = weigh, clip, max_iter, tol
        self.solver, self.max_exact, self.batch = solver, max_exact, batch
        self.rounds, self.random_state = rounds, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        positive(
            "UnbalancedTransport",
            reg=self.reg,
            relax_source=self.relax_source,
            relax_target=self.relax_target,
            tol=self.tol,
            max_iter=self.max_iter,
        )
        given = check_domains(Xs, ys, Xt, who="UnbalancedTransport")
        solve = partial(
            _solve,
            reg=self.reg,
            relax=(self.relax_source, self.relax_target),
            max_iter=self.max_iter,
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
        )
        return weighted(given, got, clip=self.clip, weigh=self.weigh)


def _solve(
    cost: Any,
    a: Any,
    b: Any,
    codes: Any,
    *,
    reg: float,
    relax: tuple[float, float],
    max_iter: int,
    tol: float,
) -> Solved:
    for method in ("sinkhorn", "sinkhorn_stabilized"):
        with heard() as said:
            plan, log = pot().unbalanced.sinkhorn_unbalanced(
                a, b, cost, reg, relax, method=method, numItermax=max_iter, stopThr=tol, log=True
            )
        error = float(log["err"][-1]) if log["err"] else float("nan")
        numeric = not finite(plan) or any("umerical" in text for text in said)
        if not numeric:
            break
    if numeric:
        fact = f"reg={reg:g} is below what floats can hold"
        return Solved(plan, float("nan"), fact, "Use a larger reg")
    fact = "" if error < tol else f"the scalings did not settle in {max_iter} iterations"
    return Solved(plan, error, fact, f"Use a larger reg (now {reg:g}) or max_iter")
