"""Layer 4: which source classes does the target hold? What partial methods weigh rows by."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClassShares(nn.Module):
    """Running mean of the target's predictions, one share a class; saved with the objective.

    Parameters
    ----------
    num_classes : int
    momentum : float
        Share of the past that a step keeps.
    """

    shares: Tensor

    def __init__(self, num_classes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("shares", torch.full((num_classes,), 1 / num_classes))

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        """(k,) shares after seeing target logits (n, k); in eval mode they stay as they are."""
        if self.training:
            seen = logits.softmax(1).mean(0).to(self.shares)
            self.shares.lerp_(seen, 1 - self.momentum)
        return self.shares


def effective_size(weights: Tensor) -> Tensor:
    """How many equally weighted rows (or classes) weigh the same: (sum w)^2 / sum w^2."""
    return weights.sum().square() / weights.square().sum().clamp_min(1e-12)
