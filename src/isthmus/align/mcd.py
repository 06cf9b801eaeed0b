"""MCD: two classifiers look for target rows they disagree on (Saito et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.base import MakeOptimizer, Minimise, Procedure
from isthmus.align.encoders import another_head, encoder_parameters
from isthmus.align.views import full_precision, need_classes


class MCD(Procedure):
    """Maximum classifier discrepancy: heads that disagree on the target, features that prevent it.

    Three kinds of updates a step: (A) both heads and the features learn the source; (B) the heads
    learn it while they move apart on target rows, the features at rest; (C) the features bring
    them together again, `updates` times, the heads at rest. The discrepancy is the mean absolute
    difference of the two predictions (Saito, Watanabe, Ushiku and Harada, *Maximum classifier
    discrepancy for unsupervised domain adaptation*, CVPR 2018, eq. 3-11).

    Parameters
    ----------
    trade_off : float, default=1.0
        Weight of the discrepancy in (B) and (C).
    updates : int, default=4
        Updates (C) a step; the authors' n.

    Notes
    -----
    The network's own head is one of the two, and predicts. A step passes the network
    ``3 + updates`` times: the most costly of these methods. Batches cannot be accumulated.
    """

    family: ClassVar[str] = "adversarial"

    def __init__(self, *, trade_off: float = 1.0, updates: int = 4) -> None:
        self.trade_off, self.updates = trade_off, updates

    def build(
        self,
        network: Any,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        need_classes(num_classes, who="MCD")
        self.network = network
        self.second = another_head(self.network.head)
        self.encoder = optimizer(encoder_parameters(network))
        self.heads = optimizer([*self.network.head.parameters(), *self.second.parameters()])

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network, "second": self.second}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"encoder": self.encoder, "heads": self.heads}

    def step(
        self, source: Any, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        task = self._task(self.network.features(source.inputs), source.labels)
        minimise(task, (self.encoder, self.heads))

        with torch.no_grad():  # (B) leaves the features alone
            here, there = (self.network.features(batch.inputs) for batch in (source, target))
        apart = discrepancy(*self._both(there))
        minimise(self._task(here, source.labels) - self.trade_off * apart, (self.heads,))

        for _ in range(self.updates):
            together = discrepancy(*self._both(self.network.features(target.inputs)))
            minimise(self.trade_off * together, (self.encoder,))
        log = {"task": task.detach(), "discrepancy": apart.detach()}
        if self.updates:
            log["discrepancy_after"] = together.detach()
        return log

    def _both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return full_precision(self.network.head(features)), full_precision(self.second(features))

    def _task(self, features: Tensor, labels: Tensor) -> Tensor:
        first, second = self._both(features)
        smoothing = self.label_smoothing
        return F.cross_entropy(first, labels, label_smoothing=smoothing) + F.cross_entropy(
            second, labels, label_smoothing=smoothing
        )


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Mean of ``|softmax(first) - softmax(second)|`` over rows and classes (eq. 3).

    Parameters
    ----------
    first, second : tensor of shape (n, k)
        Logits of the two heads.
    """
    return (first.softmax(1) - second.softmax(1)).abs().mean()
