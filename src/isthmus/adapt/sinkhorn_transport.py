"""Sinkhorn transport: entropic optimal transport of the source onto the target."""

from __future__ import annotations

from functools import partial
from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.transport import Solved, carry, entropic, positive
from isthmus.types import Adaptation

BATCH = 1000  # rows of a mini-batch of 100,000


class SinkhornTransport(Adapter):
    """Entropic optimal transport with squared Euclidean cost, by `ot.sinkhorn`.

    ``Xs' = (P Xt) / (P 1)`` with P minimising ``<P, C> + reg sum P log P`` (Cuturi 2013; Courty,
    Flamary, Tuia and Rakotomamonjy, *Optimal transport for domain adaptation*, PAMI 2017).

    Parameters
    ----------
    reg : float, default=0.05
        Entropy, in units of the median cost. Larger: smoother plans, images nearer to the mean of
        the target.
    log_domain : bool or "auto", default="auto"
        Solve for the logarithms (slower, any `reg`); ``"auto"``: where the fast solver leaves the
        range of floats.
    max_iter : int, default=1000
    tol : float, default=1e-4
        Marginal error (share of the mass) at which the plan counts as found; otherwise the
        adaptation carries a ``not-converged`` trouble with the error.
    solver, max_exact, batch, rounds, random_state
        Defaults "auto", 5000, by size, 1 and 0. As in `EMDTransport`: one plan up to
        ``max_exact ** 2`` cells, mini-batch transport beyond.

    Notes
    -----
    The source is moved onto the target; `map_target` is the identity for new target rows.
    Cost: O(n_s n_t) an iteration, a few n_s n_t numbers; mini-batches O(n batch).
    """

    family = "transport"
    extra = "transport"

    def __init__(
        self,
        reg: float = 0.05,
        *,
        log_domain: bool | str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        solver: str = "auto",
        max_exact: int = 5000,
        batch: int | None = None,
        rounds: int = 1,
        random_state: int = 0,
    ) -> None:
        self.reg, self.log_domain, self.max_iter, self.tol = reg, log_domain, max_iter, tol
        self.solver, self.max_exact, self.batch = solver, max_exact, batch
        self.rounds, self.random_state = rounds, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        positive("SinkhornTransport", reg=self.reg, tol=self.tol, max_iter=self.max_iter)
        given = check_domains(Xs, ys, Xt, who="SinkhornTransport")
        solve = partial(
            _solve,
            reg=self.reg,
            max_iter=self.max_iter,
            tol=self.tol,
            log_domain=self.log_domain,
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
        out = given.xp.astype(got.images, given.Xs.dtype, copy=False)
        return Adaptation(out, troubles=got.troubles, info=got.info)


def _solve(cost: Any, a: Any, b: Any, codes: Any, **options: Any) -> Solved:
    return entropic(cost, a, b, **options)
