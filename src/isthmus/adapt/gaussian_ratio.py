"""Weights from two Gaussian densities, in log space with shrunk covariances."""

from __future__ import annotations

import math
from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.density import canonical
from isthmus.adapt.least_squares import eye_like
from isthmus.errors import UsageError
from isthmus.types import Adaptation, Trouble


class GaussianRatio(Adapter):
    """``log w(x) = log N(x; m_t, C_t) - log N(x; m_s, C_s)`` (Shimodaira 2000's plug-in ratio).

    Covariances are shrunk towards a multiple of the identity, ``(1 - a) C + a tr(C)/d I``, and
    the largest log ratio is subtracted before the exponential: nothing overflows.

    Parameters
    ----------
    shrinkage : float or "ledoit-wolf", default="ledoit-wolf"
        a above; Ledoit and Wolf 2004 estimate it from the rows of each domain.
    clip : float, default=20.0
        Largest weight in units of the mean weight.

    Notes
    -----
    Cost: O((n_s + n_t) d^2 + d^3); the same solver at every size.
    """

    family = "instance"

    def __init__(self, shrinkage: float | str = "ledoit-wolf", *, clip: float = 20.0) -> None:
        self.shrinkage, self.clip = shrinkage, clip

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = canonical(check_domains(Xs, ys, Xt, who="GaussianRatio"))
        xp = data.xp
        # constant columns and single rows have no variance: 1e-9 of the overall one stays
        joined = xp.concat([data.Xs, data.Xt])
        floor = 1e-9 * float(xp.mean((joined - xp.mean(joined, axis=0)) ** 2)) + 1e-300
        logs, used = [], {}
        troubles: tuple[Trouble, ...] = ()
        for name, X in (("target", data.Xt), ("source", data.Xs)):
            mean = xp.mean(X, axis=0)
            cov, amount = shrunk(xp, X - mean, self.shrinkage)
            values, vectors = xp.linalg.eigh(cov + floor * eye_like(xp, cov))
            used[f"shrinkage_{name}"] = amount
            if amount == 0 and X.shape[0] <= X.shape[1]:
                reason = f"{X.shape[0]} {name} rows for {X.shape[1]} features, no shrinkage"
                troubles += (Trouble("singular", reason, "Use shrinkage='ledoit-wolf'"),)
            values = xp.where(values > floor, values, xp.full_like(values, floor))
            scores = ((data.Xs - mean) @ vectors) ** 2 / values
            logs.append(-0.5 * (xp.sum(scores, axis=1) + float(xp.sum(xp.log(values)))))
        ratio = logs[0] - logs[1]
        return data.weighted(xp.exp(ratio - xp.max(ratio)), troubles, clip=self.clip, **used)


def shrunk(xp: Any, centred: Any, shrinkage: float | str) -> tuple[Any, float]:
    """Shrunk covariance (1/n) of centred rows and the amount of shrinkage."""
    n, d = centred.shape
    cov = (centred.T @ centred) / n
    level = float(xp.sum(xp.linalg.diagonal(cov))) / d
    if shrinkage == "ledoit-wolf":
        size = float(xp.sum(cov**2))
        spread = size - d * level**2  # squared distance to the multiple of the identity
        squares = xp.sum(centred**2, axis=1)
        noise = (float(xp.sum(squares**2)) / n - size) / n
        amount = 1.0 if spread <= 0 else min(max(noise, 0.0) / spread, 1.0)
    else:
        amount = float(shrinkage)
    if not (math.isfinite(level) and 0 <= amount <= 1):
        raise UsageError(f"shrinkage={shrinkage!r}", why="a number from 0 to 1 or 'ledoit-wolf'")
    return (1 - amount) * cov + amount * level * eye_like(xp, cov), amount
