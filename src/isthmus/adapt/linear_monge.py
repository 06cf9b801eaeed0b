"""Linear Monge map: the optimal transport between two Gaussians (Flamary et al. 2019)."""

from __future__ import annotations

from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.coral import covariance
from isthmus.adapt.transport import heard, pot, to_numpy
from isthmus.errors import DataError, UsageError
from isthmus.types import Adaptation, Trouble


class LinearMonge(Adapter):
    """Move the source by the linear optimal transport map between Gaussians, by POT.

    ``Xs' = (Xs - m_s) A + m_t``, ``A = Cs^(-1/2) (Cs^(1/2) Ct Cs^(1/2))^(1/2) Cs^(-1/2)``
    (Knott and Smith 1984; Flamary, Lounici and Ferrari, *Concentration bounds for linear Monge
    mapping estimation and optimal transport domain adaptation*, 2019), computed by
    ``ot.gaussian.bures_wasserstein_mapping``.

    Parameters
    ----------
    reg : float, default=1e-3
        Ridge on both covariances, in units of the mean variance of the features.

    Notes
    -----
    The source is moved onto the target; `map_target` is the identity, so that a model trained on
    the result serves any new target row. Like CORAL it equalises mean and covariance; unlike
    CORAL it moves the rows as little as possible. Cost: O((n_s + n_t) d^2 + d^3), any size.
    """

    family = "transport"
    extra = "transport"

    def __init__(self, reg: float = 1e-3) -> None:
        self.reg = reg

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        if not self.reg >= 0:
            raise UsageError(f"reg={self.reg}", where="LinearMonge", remedy="reg must be >= 0")
        given = check_domains(Xs, ys, Xt, who="LinearMonge")
        xp = given.xp
        S, T = (xp.astype(X, xp.float64, copy=False) for X in (given.Xs, given.Xt))
        ms, mt = xp.mean(S, axis=0), xp.mean(T, axis=0)
        cs, ct = covariance(xp, S - ms), covariance(xp, T - mt)
        d = S.shape[1]
        scale = float(xp.sum(xp.linalg.diagonal(cs) + xp.linalg.diagonal(ct))) / (2 * d)
        ridge = self.reg * (scale or 1.0)
        cs, ct = (c + ridge * xp.eye(d, dtype=c.dtype, device=c.device) for c in (cs, ct))
        values = to_numpy(xp.linalg.eigvalsh(cs))
        singular = not values[0] > values[-1] * d * float(xp.finfo(xp.float64).eps)
        with heard():
            matrix, _ = pot().gaussian.bures_wasserstein_mapping(ms[None], mt[None], cs, ct)
        if not bool(xp.all(xp.isfinite(matrix))):
            raise DataError(
                f"the covariance of {S.shape[0]} source rows in {d} features is singular",
                where="LinearMonge",
                remedy="Set reg > 0 (1e-3 is the default)",
            )
        troubles: tuple[Trouble, ...] = ()
        if singular:
            troubles = (
                Trouble(
                    "singular",
                    f"smallest over largest variance of the source is {values[0] / values[-1]:.1g}",
                    "Set a larger reg: directions that the source lacks are blown up",
                ),
            )
        out = (S - ms) @ matrix + mt
        return Adaptation(xp.astype(out, given.Xs.dtype, copy=False), troubles=troubles)
