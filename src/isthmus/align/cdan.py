"""CDAN: the discriminator sees features together with predictions (Long et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.discriminator import Discriminator, domain_accuracy, domain_loss
from isthmus.align.gradient_reversal import gradient_reversal, ramp
from isthmus.align.views import entropy, need_classes
from isthmus.types import DomainBatch


class CDAN(Objective):
    """Conditional adversarial training: features and predictions, multiplied, are told apart.

    The discriminator sees ``z (x) softmax(logits)`` (k d numbers a row), so that domains are
    aligned class by class; sure rows weigh more, ``w = 1 + exp(-H(p))`` (CDAN+E). Where k d is
    large a random multilinear map takes its place, ``(R_f z) * (R_g p) / sqrt(D)``, which keeps
    inner products on average (Long, Cao, Wang and Jordan, *Conditional adversarial domain
    adaptation*, NeurIPS 2018, eq. 4-8).

    Parameters
    ----------
    trade_off : float, default=1.0
    strength : float, default=0.1
        Largest coefficient of the gradient reversal; argued in `DANN`.
    gamma : float or None, default=10.0
        Its ramp, see `gradient_reversal.ramp`; None: the full strength throughout.
    hidden : tuple of int, default=(256, 256)
        Hidden layers of the discriminator.
    entropy : bool, default=True
        The weights of CDAN+E; False is CDAN.
    max_size : int, default=4096
        Largest k d that is multiplied out (the paper's).
    random_size : int, default=1024
        D of the random map (the authors' code). It is drawn once and saved with the objective.

    Notes
    -----
    Predictions are read, not changed: no gradient passes through them or the weights.
    """

    draw_f: Tensor
    draw_g: Tensor
    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")

    def __init__(
        self,
        *,
        trade_off: float = 1.0,
        strength: float = 0.1,
        gamma: float | None = 10.0,
        hidden: tuple[int, ...] = (256, 256),
        entropy: bool = True,
        max_size: int = 4096,
        random_size: int = 1024,
    ) -> None:
        super().__init__()
        self.trade_off, self.strength, self.gamma = trade_off, strength, gamma
        self.hidden, self.entropy = hidden, entropy
        self.max_size, self.random_size = max_size, random_size

    def build(self, num_features: int, num_classes: int) -> None:
        need_classes(num_classes, who="CDAN")
        self.random = num_features * num_classes > self.max_size
        size = self.random_size if self.random else num_features * num_classes
        if self.random:
            self.register_buffer("draw_f", torch.randn(num_features, size) / size**0.5)
            self.register_buffer("draw_g", torch.randn(num_classes, size))
        self.discriminator = Discriminator(size, tuple(self.hidden))

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        coefficient = self.strength * ramp(progress, self.gamma)
        s, t = (
            self.discriminator(
                self.combine(
                    gradient_reversal(batch.features, coefficient),
                    batch.logits.detach().softmax(1),
                )
            )
            for batch in (source, target)
        )
        self.figures = {"domain_accuracy": domain_accuracy(s, t)}
        if not self.entropy:
            return domain_loss(s, t)
        ws, wt = (1 + torch.exp(-entropy(batch.logits.detach())) for batch in (source, target))
        return domain_loss(s, t, ws, wt)

    def combine(self, features: Tensor, predictions: Tensor) -> Tensor:
        """(n, d) and (n, k) -> their outer products (n, k d), or random ones (n, random_size)."""
        if self.random:
            return (features @ self.draw_f) * (predictions @ self.draw_g)
        return (predictions[:, :, None] * features[:, None, :]).flatten(1)
