"""Deep CORAL: the distance of the domains' covariances as a loss (Sun and Saenko 2016)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.views import full_precision, layer
from isthmus.types import DomainBatch


class DeepCORAL(Objective):
    """Squared distance of the covariances of both domains.

    ``|C_s - C_t|_F^2 / (4 d^2)`` (Sun and Saenko, *Deep CORAL*, ECCV workshops 2016, eq. 1-3), as
    ``isthmus.discrepancy.coral_distance``.

    Parameters
    ----------
    trade_off : float, default=1.0
        The paper raises the weight until both losses are alike at the end. The division by 4 d^2
        makes the loss tiny for wide features, and it is in units of the features to the fourth
        power: the weight has to be found anew for each network.
    layer : str, default="features"
        ``features``, ``logits`` (the paper aligns the last layer) or a further layer's name.

    Notes
    -----
    Blind to the means. A batch of one row has covariance 0.
    """

    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")

    def __init__(self, *, trade_off: float = 1.0, layer: str = "features") -> None:
        super().__init__()
        self.trade_off, self.layer = trade_off, layer

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        zs, zt = (full_precision(layer(batch, self.layer)) for batch in (source, target))
        return squared_distance(zs, zt) / (4 * zs.shape[1] ** 2)


def squared_distance(zs: Tensor, zt: Tensor) -> Tensor:
    """``|C_s - C_t|_F^2`` of the rows' covariances, by the smaller matrix.

    With X the rows of both, centred and scaled so that ``C_s - C_t = X' E X``, E = diag(1, ..,
    -1, ..), it is also ``sum_ij e_i e_j (X X')_ij^2``: (n, n) in the place of (d, d) twice.
    """
    if len(zs) + len(zt) >= zs.shape[1]:
        return (covariance(zs) - covariance(zt)).square().sum()
    both = torch.cat([_scaled(zs), _scaled(zt)])
    sign = both.new_ones(len(both))
    sign[len(zs) :] = -1
    return sign @ (both @ both.T).square() @ sign


def covariance(z: Tensor) -> Tensor:
    """(d, d) covariance with n - 1 in the denominator (1 for a single row)."""
    scaled = _scaled(z)
    return scaled.T @ scaled


def _scaled(z: Tensor) -> Tensor:
    """(n, d) rows whose squares sum up to the covariance."""
    return (z - z.mean(0)) / max(len(z) - 1, 1) ** 0.5
