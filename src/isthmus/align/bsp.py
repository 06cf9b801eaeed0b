"""BSP: no direction of the features dominates the others (Chen et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.views import full_precision
from isthmus.errors import UsageError
from isthmus.types import DomainBatch


class BSP(Objective):
    """Batch spectral penalisation: the largest singular values of both batches are held down.

    ``sum_(i <= k) sigma_i(Z_s)^2 + sigma_i(Z_t)^2``: adversarial training makes a few directions
    transferable at the cost of those that tell classes apart (Chen, Wang, Long and Wang,
    *Transferability vs. discriminability: batch spectral penalization for adversarial domain
    adaptation*, ICML 2019, eq. 8).

    Parameters
    ----------
    trade_off : float, default=1e-4
        The paper's beta.
    k : int, default=1
        Directions of each batch, at least 1; the paper's.

    Notes
    -----
    No method by itself: give it to the training together with `DANN` or `CDAN`.
    """

    family: ClassVar[str] = "adversarial"
    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")

    def __init__(self, *, trade_off: float = 1e-4, k: int = 1) -> None:
        super().__init__()
        if k < 1:
            raise UsageError(f"BSP holds down k={k} directions", remedy="Give at least 1")
        self.trade_off, self.k = trade_off, k

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        return sum_largest(source.features, self.k) + sum_largest(target.features, self.k)


def sum_largest(features: Tensor, k: int) -> Tensor:
    """Sum of the k largest squared singular values, from the smaller of the two Gram matrices."""
    with torch.autocast(features.device.type, enabled=False):
        z = full_precision(features)
        gram = z @ z.T if z.shape[0] <= z.shape[1] else z.T @ z
        if not gram.isfinite().all():  # LAPACK would not say which rows it was
            return gram.sum() * float("nan")
        return torch.linalg.eigvalsh(gram)[-k:].sum()
