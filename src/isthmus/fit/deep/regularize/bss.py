"""BSS: directions of the features that hardly vary are given up (Chen et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.errors import UsageError
from isthmus.fit.deep.regularize.base import Regularizer
from isthmus.types import DomainBatch


class BSS(Regularizer):
    """Batch spectral shrinkage: ``sum of the k smallest squared singular values`` of a batch.

    Chen, Wang, Fu, Long and Wang, *Catastrophic forgetting meets negative transfer: batch
    spectral shrinkage for safe transfer learning*, NeurIPS 2019, eq. 6: small singular values
    belong to pretrained directions that do not transfer.

    Parameters
    ----------
    k : int, default=1
        The paper's, 1 or more; at most min(n, d) are there.
    trade_off : float, default=0.001
        The paper's eta.

    Notes
    -----
    Looks at the features (n, d) of the batch, maps flattened; nothing pretrained is read. With
    fewer rows than features (the usual case) it is the spectrum of the batch, as in the paper.
    """

    needs_pretrained: ClassVar[bool] = False

    def __init__(self, *, k: int = 1, trade_off: float = 0.001) -> None:
        super().__init__(trade_off=trade_off)
        self.k = k

    def prepare(self, network: nn.Module, num_classes: int) -> None:
        """Check the number of values.

        Raises
        ------
        UsageError
            If it is below 1.
        """
        if self.k < 1:
            raise UsageError(f"k={self.k}", where="BSS", remedy="Give 1 or more")

    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        features = batch.features.flatten(1)
        if not bool(torch.isfinite(features).all()):  # the loop refuses a loss that is no number
            return features.sum() * torch.nan
        values: Tensor = torch.linalg.svdvals(features)
        return values[-self.k :].square().sum()
