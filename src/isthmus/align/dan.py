"""DAN: the maximum mean discrepancy of the domains' features as a loss (Long et al. 2015)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.kernels import discrepancy, joint_gram
from isthmus.align.views import layer
from isthmus.types import DomainBatch


class DAN(Objective):
    """Deep adaptation network: multi-kernel MMD of one or several layers.

    ``sum_layers MMD^2(z_s, z_t)`` with the mean of Gaussian kernels whose bandwidths are 1/4, 1/2,
    1, 2 and 4 times the median distance of the batch (Long, Cao, Wang and Jordan, *Learning
    transferable features with deep adaptation networks*, ICML 2015, eq. 2-4, kernels weighted
    alike). The same number as ``isthmus.discrepancy.mmd(kernel="multi", unbiased=False)``.

    Parameters
    ----------
    trade_off : float, default=1.0
        The paper's lambda; 0.3 to 3 are alike on its data.
    layers : tuple of str, default=("features",)
        ``features``, ``logits``, ``predictions`` (softmax), or names of further layers of the
        network; the paper takes its last three.

    Notes
    -----
    The biased estimate is at least 0 and defined for a batch of one; its excess, about 1 / n, is
    the same for all features of one scale. Small batches make it noisy: 32 rows a side or more.
    """

    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")

    def __init__(self, *, trade_off: float = 1.0, layers: tuple[str, ...] = ("features",)) -> None:
        super().__init__()
        self.trade_off, self.layers = trade_off, layers

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        losses = []
        for name in self.layers:
            zs, zt = layer(source, name), layer(target, name)
            losses.append(discrepancy(joint_gram(zs, zt), len(zs)))
        return torch.stack(losses).sum()
