"""MIDA: components that carry variance and do not tell the domains apart (Yan et al. 2018)."""

from __future__ import annotations

from typing import Any

from isthmus.adapt import eigen, space
from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import positive
from isthmus.errors import UsageError
from isthmus.types import Adaptation


class MIDA(Adapter):
    """Maximum independence domain adaptation: most variance, least HSIC with the domain.

    ``max tr(W' K (trade_off H - H D D' H) K W)``, ``W'W = I``, D the one-hot domain (Yan, Kou and
    Zhang, *Learning domain-invariant subspace using domain features and independence
    maximization*, IEEE T. Cybernetics 48, 2018, eq. 6 without feature augmentation). A symmetric
    eigenproblem.

    Parameters
    ----------
    n_components : int, default=20
    trade_off : float, default=1.0
        Weight of the variance against the dependence; larger = closer to PCA. Components on
        which the dependence outweighs the variance are left out.
    kernel : {'linear', 'rbf'}, default='linear'
    gamma, normalize, solver, max_exact, landmarks, random_state
        As in `TCA`.

    Notes
    -----
    Cost: as `TCA`. No labels are used.
    """

    family = "feature"

    def __init__(
        self,
        n_components: int = 20,
        *,
        trade_off: float = 1.0,
        kernel: str = "linear",
        gamma: float | None = None,
        normalize: bool = False,
        solver: str = "auto",
        max_exact: int = 5000,
        landmarks: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_components, self.trade_off, self.kernel = n_components, trade_off, kernel
        self.gamma, self.normalize, self.solver = gamma, normalize, solver
        self.max_exact, self.landmarks, self.random_state = max_exact, landmarks, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="MIDA")
        positive("MIDA", trade_off=self.trade_off, n_components=self.n_components)
        if self.kernel == "primal":
            raise UsageError("MIDA has no primal form", remedy="Use kernel='linear'")
        settings = self.get_params()
        k, trade_off = settings.pop("n_components"), settings.pop("trade_off")
        whole = space.build(given, who="MIDA", **settings)
        xp, F, ns = given.xp, whole.F, whole.ns
        nt = int(F.shape[0]) - ns
        g = whole.down((xp.mean(F[:ns], axis=0) - xp.mean(F[ns:], axis=0))[None, :])
        # H D D' H = 2 u u' for two domains, u the centred source indicator, K u = (ns nt / n) g
        weight = 2 * (ns * nt / (ns + nt)) ** 2

        def apply(V: Any) -> Any:
            return trade_off * whole.scatter(V) - weight * (g.T @ (g @ V))

        found = eigen.leading(xp, apply, whole.order, min(k, whole.order), like=g)
        kept = max(int(xp.sum(xp.astype(found.values > found.values[0] * 1e-14, xp.int64))), 1)
        Z, map_target = whole.embed(found.vectors[:, :kept], unit=self.normalize)
        info = {"components": int(Z.shape[1]), "solver": whole.solver, "kernel": self.kernel}
        troubles = () if found.trouble is None else (found.trouble,)
        return Adaptation(
            Z[:ns], map_target=map_target, troubles=whole.troubles + troubles, info=info
        )
