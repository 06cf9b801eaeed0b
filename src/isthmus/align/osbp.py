"""OSBP: target rows of no known class find a class of their own (Saito et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.base import Objective
from isthmus.align.gradient_reversal import gradient_reversal, ramp
from isthmus.align.mdd import log_others
from isthmus.align.views import need_classes, need_labels
from isthmus.types import DomainBatch


class OSBP(Objective):
    """Open-set domain adaptation by backpropagation.

    A head of K + 1 classes learns the source's K and is asked to call every target row unknown
    with probability t; the features, by gradient reversal, to make that probability 0 or 1:
    ``L = CE(source) - t log p(unknown) - (1 - t) log(1 - p(unknown))`` (Saito, Yamamoto, Ushiku
    and Harada, *Open set domain adaptation by backpropagation*, ECCV 2018, eq. 1-5). For a target
    that holds classes of its own.

    Parameters
    ----------
    trade_off : float, default=1.0
    boundary : float, default=0.5
        t of the equation, the paper's.
    strength : float, default=1.0
        Largest coefficient of the gradient reversal: the paper's game is symmetric.
    gamma : float or None, default=10.0
        Its ramp (see `gradient_reversal.ramp`).
    hidden : int, default=256
        Units of the own head's hidden layer.

    Notes
    -----
    The network's head has K outputs and knows no "unknown"; `predict` and `unknown` do, in
    `isthmus.fit.finetune.FineTunedClassifier` its `novelty`. Its own head is trained on the source
    labels here (rows with label -1 left out).
    """

    family: ClassVar[str] = "adversarial"
    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        *,
        trade_off: float = 1.0,
        boundary: float = 0.5,
        strength: float = 1.0,
        gamma: float | None = 10.0,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.trade_off, self.boundary, self.strength = trade_off, boundary, strength
        self.gamma, self.hidden = gamma, hidden

    def build(self, num_features: int, num_classes: int) -> None:
        need_classes(num_classes, who="OSBP")
        self.head = nn.Sequential(
            nn.Linear(num_features, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, num_classes + 1),
        )

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        labels = need_labels(source, who="OSBP")
        known = labels >= 0
        logits = self.head(source.features)
        losses = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        coefficient = self.strength * ramp(progress, self.gamma)
        reversed_logits = self.head(gradient_reversal(target.features, coefficient))
        loss = boundary_loss(reversed_logits, self.boundary)
        unknown = reversed_logits.detach().softmax(1)[:, -1]
        self.figures = {"unknown": (unknown > self.boundary).float().mean()}
        return losses / known.sum().clamp_min(1) + loss

    @torch.no_grad()
    def unknown(self, features: Tensor) -> Tensor:
        """(n, d) features -> (n,) "unknown" against the likeliest class; above 1/2: it wins."""
        proba: Tensor = self.head(features).softmax(1)
        return proba[:, -1] / (proba[:, -1] + proba[:, :-1].amax(1))

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """(n, d) features -> (n,) class positions, K for "unknown"."""
        positions: Tensor = self.head(features).argmax(1)
        return positions


def boundary_loss(logits: Tensor, boundary: float) -> Tensor:
    """Cross-entropy of p(last class) against `boundary`, mean over rows of (n, K + 1) logits."""
    log_unknown = logits.log_softmax(1)[:, -1]
    last = torch.full((len(logits),), logits.shape[1] - 1, device=logits.device)
    return -(boundary * log_unknown + (1 - boundary) * log_others(logits, last)).mean()
