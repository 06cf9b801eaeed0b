"""GFK: integrate over all subspaces between source and target (Gong et al. 2012)."""

from __future__ import annotations

from typing import Any

from isthmus.adapt import eigen, principal
from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import positive
from isthmus.adapt.maps import Affine
from isthmus.types import Adaptation


class GFK(Adapter):
    """Geodesic flow kernel: inner products averaged along the geodesic between two subspaces.

    ``G = int_0^1 Phi(t) Phi(t)' dt`` (Gong, Shi, Sha and Grauman, *Geodesic flow kernel for
    unsupervised domain adaptation*, CVPR 2012, eq. 6). Rows are returned as ``x L`` with
    ``L L' = G`` and 2k columns, so that ordinary inner products and distances are the kernel's.

    Parameters
    ----------
    n_components : int, default=20
        Dimension k of both subspaces; at most half the features.

    Notes
    -----
    Cost: O(n d^2 + d^3), row block by row block: exact at any size; the kernel itself is closed
    form in the k principal angles. Rows are not centred (the kernel is one of inner products):
    standardise first.
    """

    family = "feature"

    def __init__(self, n_components: int = 20) -> None:
        self.n_components = n_components

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="GFK")
        positive("GFK", n_components=self.n_components)
        xp, d = given.xp, int(given.Xs.shape[1])
        k = max(1, min(self.n_components, d // 2))
        _, Ps, _ = principal.directions(xp, given.Xs, k)
        _, Pt, _ = principal.directions(xp, given.Xt, k)
        k = min(Ps.shape[1], Pt.shape[1])
        root, angles = flow(xp, Ps[:, :k], Pt[:, :k])
        root = xp.astype(root, given.Xs.dtype)
        target = Affine(xp.zeros_like(given.Xs[0, :]), root)
        info = {"components": int(k), "largest_angle": float(xp.max(angles))}
        return Adaptation(given.Xs @ root, map_target=target, info=info)


def flow(xp: Any, Ps: Any, Pt: Any) -> tuple[Any, Any]:
    """L with ``L L' = G``, (d, 2k), and the principal angles in radians.

    With ``Ps'Pt = U cos(T) V'`` the geodesic is ``Phi(t) = Ps U cos(tT) + W sin(tT)``, W the unit
    directions from the source towards the target; each angle gives one 2 x 2 block.

    Parameters
    ----------
    Ps, Pt : array of shape (d, k)
        Orthonormal columns.
    """
    U, cosine, Vt = xp.linalg.svd(Ps.T @ Pt, full_matrices=False)
    cosine = xp.clip(cosine, 0.0, 1.0)
    A = Ps @ U
    away = Pt @ Vt.T - A * cosine  # of length sin(angle)
    sine = xp.linalg.vector_norm(away, axis=0)
    angle = xp.atan2(sine, cosine)
    far = sine > 1e-10
    W = xp.where(far[None, :], away / xp.where(far, sine, xp.ones_like(sine)), 0 * away)
    safe = xp.where(far, angle, xp.ones_like(angle))
    one, zero = xp.ones_like(angle), xp.zeros_like(angle)
    a = xp.where(far, (1 + xp.sin(2 * safe) / (2 * safe)) / 2, one)
    b = xp.where(far, (1 - xp.cos(2 * safe)) / (4 * safe), zero)
    c = xp.where(far, (1 - xp.sin(2 * safe) / (2 * safe)) / 2, zero)
    # Cholesky factor of each block [[a, b], [b, c]]
    first = xp.sqrt(a)
    below = b / first
    rest = c - below**2
    last = xp.sqrt(xp.where(rest > 0, rest, zero))
    return eigen.signed(xp, xp.concat([A * first + W * below, W * last], axis=1)), angle
