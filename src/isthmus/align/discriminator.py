"""Layer 4: the network that tells the domains apart, shared by the adversarial methods."""

from __future__ import annotations

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

    @property
    def first(self) -> nn.Linear:
        """The layer that reads the features."""
        layer = self[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def judged(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """What the first layer puts out, (n, h), to the log odds and their slope along it.

        Returns
        -------
        odds : tensor of shape (n,)
        slope : tensor of shape (n, h), or (1, h) where there is no hidden layer
            ``d odds / d first``. Dense layers with ReLU have it in closed form, row by row: the
            product of the weights of the units that are on. Which are on has no gradient; the
            weights have theirs. `slope @ self.first.weight` is the slope along the features.
        """
        later, on = list(self)[1:], []
        x = first
        for layer in later:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                on.append((x.detach() > 0).to(x.dtype))
        slope = first.new_ones(1, 1)
        for layer in reversed(later):
            slope = slope @ layer.weight if isinstance(layer, nn.Linear) else slope * on.pop()
        return x.squeeze(1), slope


def opposed_features(source: DomainBatch, target: DomainBatch, coefficient: float) -> Tensor:
    """(n_s + n_t, d) features of both domains behind one gradient reversal, source rows first."""
    return gradient_reversal(torch.cat([source.features, target.features]), coefficient)


def opposed(
    discriminator: nn.Module, source: DomainBatch, target: DomainBatch, coefficient: float
) -> tuple[Tensor, Tensor]:
    """Log odds of "source" of both domains, (n_s,) and (n_t,), behind a gradient reversal.

    Both pass the discriminator as one batch: it has no statistics of the batch, and one product
    takes less time than two.
    """
    odds: Tensor = discriminator(opposed_features(source, target, coefficient))
    s, t = odds.split([len(source.features), len(target.features)])
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


def slope_penalty(slope: Tensor, weight: Tensor, *sizes: int) -> Tensor:
    """Mean square slope of a discriminator at the features of all domains, which count alike.

    ``mean |d odds / d z|^2``: zero-centred, at the data (Mescheder, Geiger and Nowozin, *Which
    training methods for GANs do actually converge?*, ICML 2018, eq. 9). Its gradient reaches the
    discriminator and not the features.

    Parameters
    ----------
    slope : tensor of shape (n, h) or (1, h)
        Of the rows of all domains, `Discriminator.judged`.
    weight : tensor of shape (h, d)
        From there on to the features: ``d odds / d z = slope @ weight``.
    *sizes : int
        Rows of each domain.
    """
    squares = squared_length(slope, weight)
    if len(squares) == 1:  # a linear discriminator has one slope everywhere
        return squares[0]
    return torch.stack([part.mean() for part in squares.split(sizes)]).mean()


def squared_length(slope: Tensor, weight: Tensor) -> Tensor:
    """(n,) squared lengths of the rows of ``slope @ weight``, by the cheaper order of products."""
    if len(weight) < min(len(slope), weight.shape[1]):
        return ((slope @ (weight @ weight.T)) * slope).sum(1)
    return (slope @ weight).square().sum(1)


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of (n,) values with weights of any scale; 0 where all weights are 0."""
    if weights is None:
        return values.mean()
    return (weights * values).sum() / weights.sum().clamp_min(1e-12)


@torch.no_grad()
def domain_accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Share of the rows whose domain is told, each domain one half; 0.5 is a guess."""
    return ((source > 0).float().mean() + (target <= 0).float().mean()) / 2
