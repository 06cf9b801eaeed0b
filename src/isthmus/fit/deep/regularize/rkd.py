"""RKD: distances and angles between rows stay what they were (Park et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.fit.deep.regularize.base import Regularizer
from isthmus.types import DomainBatch


class RKD(Regularizer):
    """Relational knowledge distillation from the pretrained network's features.

    ``distance sum_ij h(d_ij / mean d, d0_ij / mean d0) + angle sum_ijk h(cos_ijk, cos0_ijk)``, h
    the Huber loss, means over pairs and triples of the batch (Park, Kim, Lu and Cho, *Relational
    knowledge distillation*, CVPR 2019, eq. 5-9).

    Parameters
    ----------
    distance : float, default=1.0
    angle : float, default=2.0
        The paper's ratio, 1 to 2.
    trade_off : float, default=1.0
        Beside a cross-entropy; the paper uses 25 for embeddings alone.
    pretrained : nn.Module, optional
        See `Regularizer`. Its features may have another width; maps are flattened.

    Notes
    -----
    Angles cost O(n^3) memory: a batch of 128 takes 8 MB. A batch of one or two rows has no angle,
    one row no distance.
    """

    def __init__(
        self,
        *,
        distance: float = 1.0,
        angle: float = 2.0,
        trade_off: float = 1.0,
        pretrained: nn.Module | None = None,
    ) -> None:
        super().__init__(trade_off=trade_off, pretrained=pretrained)
        self.distance, self.angle = distance, angle

    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        before, now = self.recall(batch.inputs).flatten(1), batch.features.flatten(1)
        total = now.sum() * 0
        if self.distance and len(now) > 1:
            total = total + self.distance * F.smooth_l1_loss(distances(now), distances(before))
        if self.angle and len(now) > 2:
            total = total + self.angle * F.smooth_l1_loss(angles(now), angles(before))
        return total


def distances(z: Tensor) -> Tensor:
    """(n, n) distances in units of their mean over pairs; the diagonal is 0."""
    length, apart = _lengths(z[:, None] - z[None])
    d = torch.where(apart, length, 0.0)
    mean = d.sum() / apart.sum().clamp_min(1)
    return d / mean.clamp_min(1e-12)


def angles(z: Tensor) -> Tensor:
    """(n, n, n) cosine of the angle at row i between rows j and k; 0 where two rows are one."""
    differences = z[None] - z[:, None]
    directions = differences / _lengths(differences)[0][:, :, None]
    return directions @ directions.transpose(1, 2)


def _lengths(differences: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths over the last dimension, 1 where there is none, and where there is one.

    The root has no gradient at zero, where a row meets itself or its double.
    """
    squared = differences.square().sum(-1)
    apart = squared > 0
    return torch.where(apart, squared, torch.ones_like(squared)).sqrt(), apart
