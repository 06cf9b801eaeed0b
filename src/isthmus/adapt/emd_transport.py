"""EMD transport: each source row moves to the target rows that it is matched with."""

from __future__ import annotations

from functools import partial
from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.transport import Solved, carry, earth_mover
from isthmus.types import Adaptation

BATCH = 300  # rows of a mini-batch of 100,000


class EMDTransport(Adapter):
    """Exact optimal transport with squared Euclidean cost, by `ot.emd` (network simplex).

    ``Xs' = (P Xt) / (P 1)``, P the plan of least cost between uniform weights (Courty, Flamary,
    Tuia and Rakotomamonjy, *Optimal transport for domain adaptation*, PAMI 2017, eq. 12-13).

    Parameters
    ----------
    max_iter : int, default=1_000_000
        Of the simplex.
    solver : {"auto", "exact", "approximate"}, default="auto"
        One plan, or one for each pair of random blocks (mini-batch transport, Fatras et al.
        2021): its images are pulled towards the middle of the target, the more so the smaller the
        blocks. ``"auto"``: one plan up to ``max_exact ** 2`` cells.
    max_exact : int, default=5000
    batch : int, optional
        Rows of a block. Default: 300 of 100,000, more of fewer (1,390 of 10,000), at most
        `max_exact`; one block of all rows, some 3,060 of them, is the exact plan.
    rounds : int, default=2
        Mini-batch plans over which each source row is averaged.
    random_state : int, default=0
        Draws the blocks; the result does not depend on the order of the rows.

    Notes
    -----
    The source is moved onto the target; `map_target` is the identity for new target rows.
    Cost: about O(n^3) exact, O(n batch^2) in mini-batches, memory n_s n_t or batch^2 numbers.
    """

    family = "transport"
    extra = "transport"

    def __init__(
        self,
        *,
        max_iter: int = 1_000_000,
        solver: str = "auto",
        max_exact: int = 5000,
        batch: int | None = None,
        rounds: int = 2,
        random_state: int = 0,
    ) -> None:
        self.max_iter, self.solver, self.max_exact = max_iter, solver, max_exact
        self.batch, self.rounds, self.random_state = batch, rounds, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="EMDTransport")
        got = carry(
            given,
            partial(_solve, max_iter=self.max_iter),
            solver=self.solver,
            max_exact=self.max_exact,
            batch=self.batch,
            base=BATCH,
            rounds=self.rounds,
            random_state=self.random_state,
        )
        out = given.xp.astype(got.images, given.Xs.dtype, copy=False)
        return Adaptation(out, troubles=got.troubles, info=got.info)


def _solve(cost: Any, a: Any, b: Any, codes: Any, *, max_iter: int) -> Solved:
    return earth_mover(cost, a, b, max_iter=max_iter)
