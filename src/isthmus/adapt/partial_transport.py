"""Partial transport: a stated share of the source moves, the rest stays behind."""

from __future__ import annotations

from functools import partial
from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.transport import Solved, carry, heard, pot, weighted
from isthmus.errors import UsageError
from isthmus.types import Adaptation

BATCH = 300  # rows of a mini-batch of 100,000


class PartialTransport(Adapter):
    """Exact partial optimal transport, by `ot.partial.partial_wasserstein`.

    The cheapest plan that moves `share_source` of the source mass onto `share_target` of the
    target mass (Caffarelli and McCann 2010; Chapel, Alaya and Gasso, *Partial optimal transport
    with applications on positive-unlabeled learning*, 2020). For target sets that lack source
    classes: the rows far from every target row stay behind with weight 0.

    Parameters
    ----------
    share_source : float, default=0.7
        Share of the source rows that has a counterpart, in (0, 1].
    share_target : float, default=1.0
        Share of the target rows that has one, in (0, 1]. Equal shares are the classical problem
        with uniform weights on both sides.
    weigh : bool, default=True
        Return the transported mass as weights; without them rows that stay behind are training
        rows at their old place.
    clip : float, default=20.0
        Largest weight in units of the mean.
    max_iter : int, default=1_000_000
    solver, max_exact, batch, rounds, random_state
        Defaults "auto", 5000, by size, 2 and 0. As in `EMDTransport`. In mini-batches each
        block moves the same share.

    Notes
    -----
    The source is moved onto the target; `map_target` is the identity for new target rows.
    """

    family = "transport"
    extra = "transport"

    def __init__(
        self,
        share_source: float = 0.7,
        *,
        share_target: float = 1.0,
        weigh: bool = True,
        clip: float = 20.0,
        max_iter: int = 1_000_000,
        solver: str = "auto",
        max_exact: int = 5000,
        batch: int | None = None,
        rounds: int = 2,
        random_state: int = 0,
    ) -> None:
        self.share_source, self.share_target = share_source, share_target
        self.weigh, self.clip, self.max_iter = weigh, clip, max_iter
        self.solver, self.max_exact, self.batch = solver, max_exact, batch
        self.rounds, self.random_state = rounds, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        for name in ("share_source", "share_target"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(
                    f"{name}={getattr(self, name)}",
                    where="PartialTransport",
                    remedy=f"{name} must be in (0, 1]",
                )
        given = check_domains(Xs, ys, Xt, who="PartialTransport")
        got = carry(
            given,
            partial(_solve, share=self.share_source, max_iter=self.max_iter),
            solver=self.solver,
            max_exact=self.max_exact,
            batch=self.batch,
            base=BATCH,
            rounds=self.rounds,
            random_state=self.random_state,
            target_mass=self.share_source / self.share_target,
        )
        return weighted(given, got, clip=self.clip, weigh=self.weigh)


def _solve(cost: Any, a: Any, b: Any, codes: Any, *, share: float, max_iter: int) -> Solved:
    mass = min(share, float(a.sum()), float(b.sum()))
    with heard() as said:
        try:
            plan = pot().partial.partial_wasserstein(a, b, cost, m=mass, numItermax=max_iter)
        except ValueError as refusal:  # POT raises where `ot.emd` would warn
            return Solved(cost * float("nan"), float("nan"), str(refusal), "Raise max_iter")
    error = abs(float(plan.sum()) - mass) / mass
    failure = "" if error < 1e-6 else "; ".join(said) or "the mass moved is not the one asked for"
    return Solved(plan, error, failure, "Raise max_iter")
