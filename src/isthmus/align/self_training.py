"""Self-training: sure target predictions become labels (Lee 2013)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from isthmus.align.base import Objective
from isthmus.align.gradient_reversal import ramp
from isthmus.align.views import need_classes
from isthmus.types import DomainBatch


class SelfTraining(Objective):
    """Confidence self-training: target rows of high confidence are taught their predicted class.

    ``lambda(p) mean_rows [max p >= threshold] CE(argmax p, logits)`` (Lee, *Pseudo-label*, ICML
    workshop 2013, eq. 15-16; the threshold as in FixMatch, Sohn et al. 2020), with the labels of
    the step itself.

    Parameters
    ----------
    trade_off : float, default=1.0
    threshold : float, default=0.95
        Least confidence of a row that is used.
    gamma : float or None, default=10.0
        Ramp of the loss, see `gradient_reversal.ramp`: early predictions are worth little.

    Notes
    -----
    Follows the source model where it is sure and wrong. ``figures["pseudo_labelled"]`` is the
    share of rows used.
    """

    reaches: ClassVar[tuple[str, ...]] = ("target.logits",)

    def __init__(
        self, *, trade_off: float = 1.0, threshold: float = 0.95, gamma: float | None = 10.0
    ) -> None:
        super().__init__()
        self.trade_off, self.threshold, self.gamma = trade_off, threshold, gamma

    def build(self, num_features: int, num_classes: int) -> None:
        need_classes(num_classes, who="SelfTraining")

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        sure, labels = target.logits.detach().softmax(1).max(1)
        mask = sure >= self.threshold
        self.figures = {"pseudo_labelled": mask.float().mean()}
        losses = F.cross_entropy(target.logits, labels, reduction="none")
        return (losses * mask).mean() * ramp(progress, self.gamma)
