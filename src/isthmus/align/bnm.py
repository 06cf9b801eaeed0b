"""BNM: target predictions of large nuclear norm, sure and diverse (Cui et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.views import full_precision, need_classes
from isthmus.types import DomainBatch


class BNM(Objective):
    """Batch nuclear-norm maximisation of target predictions: ``-|P|_* / n``.

    The nuclear norm is large where predictions are sure and where many classes are predicted (Cui
    et al., *Towards discriminability and diversity: batch nuclear-norm maximization under label
    insufficient situations*, CVPR 2020, eq. 9).

    Parameters
    ----------
    trade_off : float, default=1.0
        The paper's.

    Notes
    -----
    ``-sqrt(min(n, k) / n)`` at the least, reached by sure and equally spread predictions: unlike
    class shares in the target are drawn to equal ones. One thin SVD a step.
    """

    reaches: ClassVar[tuple[str, ...]] = ("target.logits",)

    def __init__(self, *, trade_off: float = 1.0) -> None:
        super().__init__()
        self.trade_off = trade_off

    def build(self, num_features: int, num_classes: int) -> None:
        need_classes(num_classes, who="BNM")

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        proba = full_precision(target.logits).softmax(1)
        if not proba.isfinite().all():  # LAPACK would not say which rows it was
            return proba.sum() * float("nan")
        return -torch.linalg.svdvals(proba).sum() / len(proba)
