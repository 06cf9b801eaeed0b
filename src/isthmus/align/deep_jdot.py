"""DeepJDOT: a transport plan pairs rows that are alike in feature and label (Damodaran 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.gradient_reversal import ramp
from isthmus.align.views import full_precision, need_classes, need_labels
from isthmus.errors import need
from isthmus.types import DomainBatch


class DeepJDOT(Objective):
    """Joint distribution optimal transport between a source and a target batch.

    ``sum_ij P_ij (features |z_i - z_j|^2 + labels CE(y_i, f(x_j)))``, P the exact plan (POT) for
    those costs, held fixed while the network learns (Damodaran, Kellenberger, Flamary, Tuia and
    Courty, *DeepJDOT*, ECCV 2018, eq. 6-8).

    Parameters
    ----------
    trade_off : float, default=1.0
    features : float, default=0.001
        alpha of the paper (0.001 there, for features of several hundred numbers).
    labels : float, default=0.0001
        lambda_t of the paper (0.0001 to 1 in the authors' experiments).
    gamma : float or None, default=None
        Ramp of the whole loss, see `gradient_reversal.ramp`.

    Notes
    -----
    Reads source labels; rows with label -1 take no part. A batch of n + n rows costs O(n^3) on
    the CPU: 1 ms for 64, 20 ms for 512. Needs the extra ``transport``.
    """

    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features", "target.logits")
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        *,
        trade_off: float = 1.0,
        features: float = 0.001,
        labels: float = 0.0001,
        gamma: float | None = None,
    ) -> None:
        super().__init__()
        self.trade_off, self.features, self.labels = trade_off, features, labels
        self.gamma = gamma

    def build(self, num_features: int, num_classes: int) -> None:
        need_classes(num_classes, who="DeepJDOT")

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        labels = need_labels(source, who="DeepJDOT")
        known = labels >= 0
        cost = self.cost(source.features[known], labels[known], target)
        if not len(cost):
            return source.features.sum() * 0
        if not cost.isfinite().all():  # no plan has a cost then
            return cost.sum() * float("nan")
        return (transport_plan(cost) * cost).sum() * ramp(progress, self.gamma)

    def cost(self, features: Tensor, labels: Tensor, target: DomainBatch) -> Tensor:
        """(n_s, n_t) ``features |z_i - z_j|^2 + labels CE(y_i, f(x_j))``."""
        with torch.autocast(features.device.type, enabled=False):
            zs, zt = full_precision(features), full_precision(target.features)
            middle = zt.detach().mean(0)  # rows far from the origin keep their digits
            zs, zt = zs - middle, zt - middle
            squared = zs.square().sum(1)[:, None] + zt.square().sum(1)[None, :] - 2 * zs @ zt.T
            log_proba = full_precision(target.logits).log_softmax(1)
            return self.features * squared.clamp_min(0) - self.labels * log_proba.T[labels]


@torch.no_grad()
def transport_plan(cost: Tensor) -> Tensor:
    """(n_s, n_t) exact plan of least cost between equal weights, by POT; a constant for torch."""
    solve = need("ot", extra="transport").emd
    values = cost.detach().double().cpu().numpy()
    n, m = values.shape
    plan = solve([1 / n] * n, [1 / m] * m, values)
    return torch.as_tensor(plan, dtype=cost.dtype, device=cost.device)
