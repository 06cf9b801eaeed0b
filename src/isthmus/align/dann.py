"""DANN: features from which no discriminator can tell the domain (Ganin et al. 2016)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.discriminator import (
    Discriminator,
    domain_accuracy,
    domain_loss,
    opposed_features,
    signed_shares,
    slope_penalty,
)
from isthmus.align.easing import Eased, eased
from isthmus.align.gradient_reversal import ramp
from isthmus.types import DomainBatch


class DANN(Objective):
    """Domain-adversarial training: a discriminator behind a gradient reversal.

    ``min_D max_features  mean BCE(D(z), domain)``; in one loss with the task,
    ``L_task + trade_off L_domain``, where the reversal multiplies the gradient of the features by
    ``-strength lambda(p)``, ``lambda(p) = 2 / (1 + exp(-gamma p)) - 1`` (Ganin et al.,
    *Domain-adversarial training of neural networks*, JMLR 2016, eq. 13-15).

    Parameters
    ----------
    trade_off : float, default=1.0
        Weight of the loss: of what the discriminator learns by and, times `strength`, of what the
        features feel. Leave it at 1 and set `strength`.
    strength : float or (first, last), default=(30.0, 1.0)
        Coefficient of the reversal; two values: it eases from one to the other, see
        `isthmus.align.easing.eased`. It goes with `penalty`. The paper's is 1, without one.
    gamma : float or None, default=10.0
        Its ramp, see `gradient_reversal.ramp`; None: the full strength throughout.
    hidden : tuple of int, default=(64,)
        Hidden layers of the discriminator; () is a linear one.
    penalty : float or (first, last), default=(100.0, 0.01)
        Weight of the mean square slope of the discriminator
        (`isthmus.align.discriminator.slope_penalty`); 0, with a strength of 1, is the paper's
        DANN.
    flat : float, default=0.25
        Share of the training before the two ease.

    Notes
    -----
    Coarse first, then fine. A discriminator that is sharp from the beginning pulls every target
    row to the nearest source rows, also over the border of the classes. Held flat, it sees the
    coarse shape of the domains only, and can be followed `strength` times as fast; once they lie
    on one another it may be as sharp as the paper's. Two moons turned by 35 degrees, MLP of 64, 64,
    640 steps of AdamW: a discriminator without a penalty loses 4 to 10 points to source-only,
    one held flat throughout gains 4.3, one that eases 6.1 (mean of 10 draws), and 3.3 +- 1.2 on
    12 draws that nothing was chosen on. Five classes in ten dimensions, stretched, turned and
    moved: +6.1 +- 1.3 there; held flat throughout +1.8. Where the domains differ in detail rather
    than by a turn, the paper's settings are better: MNIST > USPS 92.1 against 85.7 %, 20 real pairs
    of cached features +0.5 against -0.6 points over source-only (docs/log.md).
    """

    family: ClassVar[str] = "adversarial"
    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")

    def __init__(
        self,
        *,
        trade_off: float = 1.0,
        strength: Eased = (30.0, 1.0),
        gamma: float | None = 10.0,
        hidden: tuple[int, ...] = (64,),
        penalty: Eased = (100.0, 0.01),
        flat: float = 0.25,
    ) -> None:
        super().__init__()
        self.trade_off, self.strength, self.gamma = trade_off, strength, gamma
        self.hidden, self.penalty, self.flat = hidden, penalty, flat

    def build(self, num_features: int, num_classes: int) -> None:
        self.discriminator = Discriminator(num_features, tuple(self.hidden))

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        coefficient = eased(self.strength, progress, self.flat) * ramp(progress, self.gamma)
        odds, squares = self.discriminator.judged(opposed_features(source, target, coefficient))
        shares = signed_shares(odds, len(source.features))
        self.figures = {"domain_accuracy": domain_accuracy(odds, shares)}
        loss = domain_loss(odds, shares)
        if self.penalty:
            weight = eased(self.penalty, progress, self.flat)
            loss = loss + weight * slope_penalty(squares, shares)
        return loss
