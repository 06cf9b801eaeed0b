"""FixMatch: what is sure on a weak view is taught to a strong one (Sohn et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.base import MakeOptimizer, Minimise, Procedure
from isthmus.align.views import full_precision, need_classes, need_share
from isthmus.errors import UsageError


class FixMatch(Procedure):
    """Source labels, and sure predictions of weakly changed target rows for strongly changed ones.

    ``CE(source) + trade_off mean_rows [max q >= threshold] CE(argmax q, strong)``, ``q`` the
    prediction of the weak view, without gradient (Sohn et al., *FixMatch: simplifying
    semi-supervised learning with consistency and confidence*, NeurIPS 2020, eq. 3-4).

    Parameters
    ----------
    trade_off : float, default=1.0
    threshold : float, default=0.95
        Least confidence of a row that is used; both the authors'.

    Notes
    -----
    Target rows need a view ``strong`` (`isthmus.fit.deep.rows.Rows`, ``views``), made anew for
    every step: the augmentation of `isthmus.fit.finetune.FineTunedClassifier`; ``weak`` is the
    row as it is where there is no view of that name. Without two views this is
    `isthmus.align.self_training`. Predictions that are sure and wrong are
    learned.
    """

    views: ClassVar[tuple[str, ...]] = ("strong",)
    needs_views: ClassVar[bool] = True

    def __init__(self, *, trade_off: float = 1.0, threshold: float = 0.95) -> None:
        need_share(threshold, "threshold", who="FixMatch")
        self.trade_off, self.threshold = trade_off, threshold

    def build(
        self,
        network: Any,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        need_classes(num_classes, who="FixMatch")
        self.network = network
        self.optimizer = optimizer(network.parameters())

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network}

    def begin(self, source: Any, target: Any) -> None:
        if "strong" not in target.views:
            raise UsageError(
                "FixMatch needs a strongly changed view of target rows",
                why="the rows have no view 'strong'",
                remedy="Give an augmentation (augment=..., --augment), or use self-training",
            )

    def step(
        self, source: Any, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        logits = full_precision(self.network(source.inputs))
        task = F.cross_entropy(logits, source.labels, label_smoothing=self.label_smoothing)
        with torch.no_grad():
            weak = full_precision(self.network(target.views.get("weak", target.inputs)))
        strong = full_precision(self.network(target.views["strong"]))
        taught, share = taught_by_sure(weak, strong, self.threshold)
        minimise(task + self.trade_off * taught, (self.optimizer,))
        return {"task": task.detach(), "taught": taught.detach(), "pseudo_labelled": share}


def taught_by_sure(weak: Tensor, strong: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The loss of the strong view by sure predictions of the weak one, and their share.

    Parameters
    ----------
    weak, strong : tensor of shape (n, k)
        Logits of the two views of the same rows.
    threshold : float

    Returns
    -------
    loss, share : scalar tensors
        The loss is a mean over all n rows, those that are not sure with 0.
    """
    sure, labels = weak.detach().softmax(1).max(1)
    mask = (sure >= threshold).to(strong.dtype)
    losses = F.cross_entropy(strong, labels, reduction="none")
    return (losses * mask).mean(), mask.mean()
