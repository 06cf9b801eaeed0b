"""Layer 4: the network that tells the domains apart, shared by the adversarial methods."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Discriminator(nn.Sequential):
    """Dense layers with ReLU between, one output: the log odds of "source".

    No batch normalisation: it would see the share of each domain in the batch, and fail on a
    batch of one.

    Parameters
    ----------
    num_features : int
    hidden : tuple of int
        Widths of the hidden layers; () is a linear discriminator.
    """

    def __init__(self, num_features: int, hidden: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for width, following in pairwise((num_features, *hidden)):
            layers += [nn.Linear(width, following), nn.ReLU()]
        super().__init__(*layers, nn.Linear((num_features, *hidden)[-1], 1))

    def forward(self, features: Tensor) -> Tensor:
        """(n, d) -> (n,) log odds of "source"."""
        odds: Tensor = super().forward(features)
        return odds.squeeze(1)


def domain_loss(
    source: Tensor,
    target: Tensor,
    source_weights: Tensor | None = None,
    target_weights: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of the domains; each domain counts one half, whatever its rows.

    Parameters
    ----------
    source, target : tensor of shape (n_s,), (n_t,)
        Log odds of "source".
    source_weights, target_weights : tensor, optional
        Weights of the rows within their domain; their scale does not matter.
    """
    s, t = F.softplus(-source), F.softplus(target)
    return (weighted_mean(s, source_weights) + weighted_mean(t, target_weights)) / 2


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of (n,) values with weights of any scale; 0 where all weights are 0."""
    if weights is None:
        return values.mean()
    return (weights * values).sum() / weights.sum().clamp_min(1e-12)


@torch.no_grad()
def domain_accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Share of the rows whose domain is told, each domain one half; 0.5 is a guess."""
    return ((source > 0).float().mean() + (target <= 0).float().mean()) / 2
