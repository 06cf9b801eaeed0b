"""PCA: the leading directions of both domains together, as a common subspace."""

from __future__ import annotations

from typing import Any

from isthmus.adapt import principal
from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import positive
from isthmus.adapt.kernels import Preparation, Projection
from isthmus.types import Adaptation


class PCA(Adapter):
    """Principal components of source and target rows together.

    Parameters
    ----------
    n_components : int, default=100
        At most the rank of the rows.
    normalize : bool, default=False
        Components of unit length a row (cosine geometry).

    Notes
    -----
    Cost: O(n d^2 + d^3), row block by row block: exact at any size. Nothing is aligned:
    directions that carry little variance in either domain are left out, which is much of what
    heavier subspace methods gain on small features.
    """

    family = "feature"

    def __init__(self, n_components: int = 100, *, normalize: bool = False) -> None:
        self.n_components, self.normalize = n_components, normalize

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="PCA")
        positive("PCA", n_components=self.n_components)
        xp = given.xp
        X = xp.concat([given.Xs, given.Xt], axis=0)
        mean, basis, variance = principal.directions(xp, X, self.n_components)
        before = Preparation(xp.astype(mean, X.dtype), 1.0, False)
        project = Projection(before, None, xp.astype(basis, X.dtype), self.normalize)
        info = {"components": int(basis.shape[1]), "variance": float(xp.sum(variance))}
        return Adaptation(project(given.Xs), map_target=project, info=info)
