"""TJM: match the domain means and let source rows that do not fit fade (Long et al. 2014)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.adapt import space
from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import positive
from isthmus.errors import UsageError
from isthmus.types import Adaptation

SETTLED = 1e-4  # relative change of the weights


class TJM(Adapter):
    """Transfer joint matching: TCA with an l2,1 penalty on the coefficients of the source rows.

    ``min tr(A' K M K A) + trade_off (|A_s|_{2,1} + |A_t|^2)``, ``A' K H K A = I`` (Long, Wang,
    Ding, Sun and Yu, *Transfer joint matching for unsupervised domain adaptation*, CVPR 2014,
    eq. 8), by reweighting: rows of the source with small coefficients are penalised more. As in
    the authors' code the coefficients have columns of unit length and the weight of a row is
    ``1 / |a|``, so that the unit of the features plays no part.

    Parameters
    ----------
    n_components : int, default=20
    trade_off : float, default=1.0
    max_iter : int, default=10
    kernel : {'linear', 'rbf'}, default='linear'
    gamma, normalize, solver, max_exact, landmarks, random_state
        As in `TCA`, with half as many landmarks: each round is a decomposition.

    Notes
    -----
    Cost: `max_iter` times O(n d^2 + d^3). No labels are used.
    """

    family = "feature"

    def __init__(
        self,
        n_components: int = 20,
        *,
        trade_off: float = 1.0,
        max_iter: int = 10,
        kernel: str = "linear",
        gamma: float | None = None,
        normalize: bool = False,
        solver: str = "auto",
        max_exact: int = 5000,
        landmarks: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_components, self.trade_off, self.max_iter = n_components, trade_off, max_iter
        self.kernel, self.gamma, self.normalize = kernel, gamma, normalize
        self.solver, self.max_exact, self.landmarks = solver, max_exact, landmarks
        self.random_state = random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="TJM")
        positive(
            "TJM", trade_off=self.trade_off, n_components=self.n_components, max_iter=self.max_iter
        )
        if self.kernel == "primal":
            raise UsageError(
                "TJM has no primal form",
                why="its penalty is on rows",
                remedy="Use kernel='linear'",
            )
        settings = self.get_params()
        k, trade_off, rounds = (
            settings.pop(name) for name in ("n_components", "trade_off", "max_iter")
        )
        whole = space.build(given, who="TJM", most=space.LANDMARKS // 2, **settings)
        xp, ns, count = given.xp, whole.ns, 1
        found, A = self._round(xp, whole, trade_off, k)
        weighted, moved = whole, np.inf
        weights = xp.ones_like(A[:, 0])
        while count < rounds and moved > SETTLED:
            count += 1
            fresh = xp.concat([1 / self._sizes(xp, A[:ns, :]), xp.ones_like(weights[ns:])])
            moved = float(xp.max(xp.abs(fresh - weights) / weights))
            weights = fresh
            weighted = whole.weighted(weights)
            found, A = self._round(xp, weighted, trade_off, k)
        Z, map_target = weighted.embed(found.vectors, unit=self.normalize)
        size = xp.linalg.vector_norm(A[:ns, :], axis=1)
        info = {
            "components": int(Z.shape[1]),
            "solver": whole.solver,
            "kernel": self.kernel,
            "iterations": count,
            "faded_rows": int(xp.sum(xp.astype(size < 0.1 * xp.mean(size), xp.int64))),
        }
        troubles = () if found.trouble is None else (found.trouble,)
        return Adaptation(
            Z[:ns], map_target=map_target, troubles=whole.troubles + troubles, info=info
        )

    def _round(self, xp: Any, whole: space.Space, trade_off: float, k: int) -> tuple[Any, Any]:
        """Components for given row weights, and the rows' coefficients, columns of length 1."""
        none = np.empty(0, dtype=np.int64)
        G = space.contrasts(whole, none, None, 0, marginal=1.0, conditional=0.0)
        found = space.solve(whole, G, trade_off=trade_off, k=k)
        A = whole.coefficients(found.vectors)
        length = xp.linalg.vector_norm(A, axis=0)
        length = xp.where(length > 0, length, xp.ones_like(length))
        return replace(found, vectors=found.vectors / length), A / length

    def _sizes(self, xp: Any, A: Any) -> Any:
        """Lengths of the rows of A, kept off zero: a row that faded must not make all singular."""
        size = xp.linalg.vector_norm(A, axis=1)
        floor = 1e-3 * xp.mean(size)
        return size + xp.where(floor > 0, floor, xp.ones_like(floor))
