"""PADA: source classes that the target does not hold lose their weight (Cao et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.align.base import Objective
from isthmus.align.class_shares import ClassShares, effective_size
from isthmus.align.discriminator import (
    Discriminator,
    domain_accuracy,
    domain_loss,
    opposed_features,
    signed_shares,
    weighted_mean,
)
from isthmus.align.gradient_reversal import ramp
from isthmus.align.views import need_classes, need_labels
from isthmus.types import DomainBatch


class PADA(Objective):
    """Partial domain adaptation: adversarial, with source rows weighted by their class.

    The target's predictions, averaged, say which classes it holds: ``w = q / max q``, q the
    running mean of softmax over target rows. Both the task loss and the discriminator's loss
    weigh a source row by ``w[y]`` (Cao, Ma, Long and Wang, *Partial adversarial domain
    adaptation*, ECCV 2018, eq. 3-4). For a target whose classes are a part of the source's.

    Parameters
    ----------
    trade_off : float, default=1.0
        Weight of the loss. The task loss is weighted fully whatever the trade-off.
    strength : float, default=1.0
        Largest coefficient of the gradient reversal; see `DANN`.
    gamma : float or None, default=10.0
        Its ramp (see `gradient_reversal.ramp`).
    hidden : tuple of int, default=(256, 256)
        Hidden layers of the discriminator.
    rate : float, default=1.0
        Learning rate of its own weights in units of the run's.
    opposed : {"target", "both"}, default="target"
        Whose features feel the reversed gradient, argued in `DANN`; ``"both"`` is the paper.
    momentum : float, default=0.9
        Of the running mean, in steps; the paper averages over all target rows now and then, 0.9
        averages over about ten batches without a pass of its own.

    Notes
    -----
    Reads source labels; rows with label -1 have the mean weight and no task loss. The loop adds
    the plain task loss, so what is returned holds the difference between the weighted and the
    plain cross-entropy; with label smoothing or mixed rows in the loop that is an approximation.

    Five classes in ten dimensions, stretched, turned and moved, three of them in the target, gain
    over source-only in points (mean of 6 draws): +8.1, with both sides opposed +6.6, with a linear
    discriminator -4.9 and -7.7.
    """

    family: ClassVar[str] = "adversarial"
    reaches: ClassVar[tuple[str, ...]] = ("source.logits", "target.features")
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        *,
        trade_off: float = 1.0,
        strength: float = 1.0,
        gamma: float | None = 10.0,
        hidden: tuple[int, ...] = (256, 256),
        rate: float = 1.0,
        opposed: str = "target",
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.trade_off, self.strength, self.gamma = trade_off, strength, gamma
        self.hidden, self.opposed, self.momentum = hidden, opposed, momentum

    def build(self, num_features: int, num_classes: int) -> None:
        need_classes(num_classes, who="PADA")
        self.discriminator = Discriminator(num_features, tuple(self.hidden))
        self.classes = ClassShares(num_classes, self.momentum)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        labels = need_labels(source, who="PADA")
        shares = self.classes(target.logits)
        weights = (shares / shares.max())[labels.clamp_min(0)]
        weights = torch.where(labels >= 0, weights, (shares / shares.max()).mean())
        coefficient = self.strength * ramp(progress, self.gamma)
        odds = self.discriminator(opposed_features(source, target, coefficient, self.opposed))
        count = len(source.features)
        self.figures = {
            "domain_accuracy": domain_accuracy(odds, signed_shares(odds, count)),
            "effective_classes": effective_size(shares),
        }
        loss = domain_loss(odds, signed_shares(odds, count, weights))
        if self.trade_off == 0:
            return loss
        return loss + self._reweighting(source.logits, labels, weights) / self.trade_off

    def _reweighting(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted minus plain task loss, 0 where no row has a label."""
        losses = F.cross_entropy(logits, labels, ignore_index=-1, reduction="none")
        known = (labels >= 0).to(losses)
        return weighted_mean(losses, weights * known) - weighted_mean(losses, known)
