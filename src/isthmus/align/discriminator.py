"""Layer 4: the network that tells the domains apart, shared by the adversarial methods."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.gradient_reversal import gradient_reversal
from isthmus.align.judged import judged
from isthmus.errors import UsageError
from isthmus.types import DomainBatch

SIDES = ("target", "both")


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

    def judged(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Log odds of every row, (n,), and the squared length of their slope, (n,).

        Parameters
        ----------
        features : tensor of shape (n, d)

        Returns
        -------
        odds, squares : tensor of shape (n,)
            See `isthmus.align.judged.judged`: the squares' gradient does not reach the features.
        """
        return judged(features, list(self.parameters()))


def opposed_features(
    source: DomainBatch, target: DomainBatch, coefficient: float, opposed: str = "target"
) -> Tensor:
    """(n_s + n_t, d) features of both domains behind a gradient reversal, source rows first.

    The reversal asks each domain to go where the other is; the source is held by its labels and
    better left alone (argued in `isthmus.align.dann.DANN`).

    Parameters
    ----------
    source, target : DomainBatch
    coefficient : float
        Of the reversal.
    opposed : {"target", "both"}, default="target"
        Whose features feel it; the source's are read only, or not. ``"both"`` is the game of the
        papers that have one encoder.

    Raises
    ------
    UsageError
    """
    if opposed not in SIDES:
        raise UsageError(f"opposed={opposed!r}", remedy=f"Use {' or '.join(map(repr, SIDES))}")
    here = source.features if opposed == "both" else source.features.detach()
    return gradient_reversal(torch.cat([here, target.features]), coefficient)


def signed_shares(
    odds: Tensor,
    count: int,
    source_weights: Tensor | None = None,
    target_weights: Tensor | None = None,
) -> Tensor:
    """(n,) what each row counts in a mean over both domains; source rows, the first, are positive.

    Each domain counts one half, whatever its rows: the shares of the source's sum to 1/2, those
    of the target's to -1/2 (to 0 where all weights are 0).

    Parameters
    ----------
    odds : tensor of shape (n,)
        Log odds of both domains; their type and place are the result's.
    count : int
        Rows of the source.
    source_weights, target_weights : tensor, optional
        Weights of the rows within their domain; their scale does not matter.
    """
    shares = odds.new_full((len(odds),), -0.5 / max(len(odds) - count, 1))
    shares[:count] = 0.5 / max(count, 1)
    if source_weights is None and target_weights is None:
        return shares
    sides = zip(shares.split([count, len(odds) - count]), (source_weights, target_weights))
    return torch.cat(
        [
            side if w is None else w.to(side) * (side.sum() / w.sum().clamp_min(1e-12))
            for side, w in sides
        ]
    )


def domain_loss(odds: Tensor, shares: Tensor) -> Tensor:
    """Binary cross-entropy of the domains.

    Parameters
    ----------
    odds : tensor of shape (n,)
        Log odds of "source", the source's rows first.
    shares : tensor of shape (n,)
        What each row counts, `signed_shares`.
    """
    return F.softplus(odds * -shares.sign()) @ shares.abs()


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of (n,) values with weights of any scale; 0 where all weights are 0."""
    if weights is None:
        return values.mean()
    return (weights * values).sum() / weights.sum().clamp_min(1e-12)


@torch.no_grad()
def domain_accuracy(odds: Tensor, shares: Tensor) -> Tensor:
    """Share of the rows whose domain is told, as `domain_loss` counts them; 0.5 is a guess."""
    return ((odds > 0) == (shares > 0)).to(shares) @ shares.abs()
