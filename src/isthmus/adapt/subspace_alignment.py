"""Subspace alignment: turn the source's principal directions into the target's."""

from __future__ import annotations

from typing import Any

from isthmus.adapt import principal
from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import positive
from isthmus.adapt.maps import Affine
from isthmus.types import Adaptation


class SubspaceAlignment(Adapter):
    """Subspace alignment: ``Zs = Xs Ps Ps' Pt``, ``Zt = Xt Pt``.

    Fernando, Habrard, Sebban and Tuytelaars, *Unsupervised visual domain adaptation using
    subspace alignment*, ICCV 2013, eq. 3 and 4.

    Parameters
    ----------
    n_components : int, default=50
        Dimension of both subspaces; at most the smaller rank.
    centre : bool, default=True
        Rows are projected about their domain's own mean; False: as they come (the directions are
        those of the centred rows either way).

    Notes
    -----
    Cost: O(n d^2 + d^3), row block by row block: exact at any size. The map of the target is
    linear, so new rows cost one product.
    """

    family = "feature"

    def __init__(self, n_components: int = 50, *, centre: bool = True) -> None:
        self.n_components, self.centre = n_components, centre

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="SubspaceAlignment")
        positive("SubspaceAlignment", n_components=self.n_components)
        xp = given.xp
        ms, Ps, _ = principal.directions(xp, given.Xs, self.n_components)
        mt, Pt, _ = principal.directions(xp, given.Xt, self.n_components)
        k = min(Ps.shape[1], Pt.shape[1])
        Ps, Pt = Ps[:, :k], Pt[:, :k]
        turn = Ps.T @ Pt
        if not self.centre:
            ms, mt = xp.zeros_like(ms), xp.zeros_like(mt)
        dtype = given.Xs.dtype
        source = Affine(xp.astype(ms, dtype), xp.astype(Ps @ turn, dtype))
        target = Affine(xp.astype(mt, dtype), xp.astype(Pt, dtype))
        info = {
            "components": int(k),
            "smallest_cosine": float(xp.linalg.svdvals(turn)[-1]),
        }
        return Adaptation(source(given.Xs), map_target=target, info=info)
