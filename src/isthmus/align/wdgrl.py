"""WDGRL: features between which a smooth critic sees no distance (Shen et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.discriminator import Discriminator
from isthmus.align.gradient_reversal import gradient_reversal, ramp
from isthmus.types import DomainBatch


class WDGRL(Objective):
    """Wasserstein distance guided representation learning: a critic with a gradient penalty.

    ``max_critic mean f(z_s) - mean f(z_t) - penalty mean (|grad f| - 1)^2`` and the features make
    the first difference small (Shen, Qu, Zhang and Yu, *Wasserstein distance guided
    representation learning for domain adaptation*, AAAI 2018, eq. 2-5).

    Parameters
    ----------
    trade_off : float, default=1.0
    strength : float, default=0.1
        Largest coefficient of the gradient reversal.
    gamma : float or None, default=10.0
        Its ramp, see `gradient_reversal.ramp`; None: the full strength throughout.
    penalty : float, default=10.0
        The paper's gamma; points are the rows of both sides and random ones between pairs.
    hidden : tuple of int, default=(256, 256)
        Hidden layers of the critic.

    Notes
    -----
    The paper takes five critic steps for each of the features; here both move together through a
    gradient reversal that starts from 0, and the features move `strength` times as fast. On two
    moons turned by 35 degrees the default loses 8 points to source-only (4 draws); 64 hidden units
    with a strength of 0.6 that falls to 0.03 gained 5 there and lost 2.8 on 20 real pairs
    of features, where the default lost 0.5.
    """

    family: ClassVar[str] = "adversarial"
    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")

    def __init__(
        self,
        *,
        trade_off: float = 1.0,
        strength: float = 0.1,
        gamma: float | None = 10.0,
        penalty: float = 10.0,
        hidden: tuple[int, ...] = (256, 256),
    ) -> None:
        super().__init__()
        self.trade_off, self.strength, self.gamma = trade_off, strength, gamma
        self.penalty, self.hidden = penalty, hidden

    def build(self, num_features: int, num_classes: int) -> None:
        self.critic = Discriminator(num_features, tuple(self.hidden))

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        coefficient = self.strength * ramp(progress, self.gamma)
        n, m = len(source.features), len(target.features)
        points = torch.cat([source.features, target.features, between(source, target)])
        odds, squares = self.critic.judged(gradient_reversal(points, coefficient))
        distance = odds[:n].mean() - odds[n : n + m].mean()
        self.figures = {"wasserstein": distance.detach()}
        return -distance + self.penalty * gradient_penalty(squares)


def between(source: DomainBatch, target: DomainBatch) -> Tensor:
    """Random points on the lines between pairs of rows of both sides; no gradient leaves them."""
    zs, zt = source.features.detach(), target.features.detach()
    count = min(len(zs), len(zt))
    share = torch.rand(count, 1, dtype=zs.dtype, device=zs.device)
    return share * zs[:count] + (1 - share) * zt[:count]


def gradient_penalty(squares: Tensor) -> Tensor:
    """``mean (|d critic / d point| - 1)^2`` of the slopes' squared lengths, (n,)."""
    # the root has no gradient at zero, where a critic of dead units starts
    norm = (squares + 1e-12).sqrt()
    return (norm - 1).square().mean()
