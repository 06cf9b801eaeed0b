"""Layer 4: the network that tells the domains apart, shared by the adversarial methods."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.gradient_reversal import gradient_reversal
from isthmus.types import DomainBatch


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


def opposed(
    discriminator: nn.Module, source: DomainBatch, target: DomainBatch, coefficient: float
) -> tuple[Tensor, Tensor]:
    """Log odds of "source" of both domains, (n_s,) and (n_t,), behind a gradient reversal."""
    s, t = (
        discriminator(gradient_reversal(batch.features, coefficient)) for batch in (source, target)
    )
    return s, t


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


def slope_penalty(odds: Callable[[Tensor], Tensor], *features: Tensor) -> Tensor:
    """Mean square slope of a discriminator at the features of all domains, which count alike.

    ``mean |d odds / d z|^2``: zero-centred, at the data (Mescheder, Geiger and Nowozin, *Which
    training methods for GANs do actually converge?*, ICML 2018, eq. 9). Its gradient reaches the
    discriminator and not the features.

    Parameters
    ----------
    odds : callable
        (n, d) features -> (n,) log odds.
    *features : tensors of shape (n, d)
        One a domain; their sizes may differ.
    """
    with torch.enable_grad():
        points = torch.cat(features).detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(odds(points).sum(), points, create_graph=True)
        squares = slope.square().sum(1)
    means = [part.mean() for part in squares.split([len(part) for part in features])]
    return torch.stack(means).mean()


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of (n,) values with weights of any scale; 0 where all weights are 0."""
    if weights is None:
        return values.mean()
    return (weights * values).sum() / weights.sum().clamp_min(1e-12)


@torch.no_grad()
def domain_accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Share of the rows whose domain is told, each domain one half; 0.5 is a guess."""
    return ((source > 0).float().mean() + (target <= 0).float().mean()) / 2
