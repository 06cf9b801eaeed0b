"""AFN: feature norms that grow step by step in both domains (Xu et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from isthmus.align.base import Objective
from isthmus.types import DomainBatch


class AFN(Objective):
    """Stepwise adaptive feature norm: features of both domains grow until the task holds them.

    ``mean (|z| - (|z|_before + step))^2`` over source and over target rows, the norm of before
    taken as a constant: the value never changes, the gradient is ``-2 step z / |z|`` a row (Xu,
    Li, Yang and Lin, *Larger norm more transferable*, ICCV 2019, eq. 5).

    Parameters
    ----------
    trade_off : float, default=0.05
        The paper's lambda.
    step : float, default=1.0
        Growth of the norm asked for (the paper's).

    Notes
    -----
    For shifts that leave target features short, as of images a pretrained network knows less
    well; a rotation of the input is none, and AFN leaves it as it is. ``figures`` holds the mean
    norm of both sides.
    """

    reaches: ClassVar[tuple[str, ...]] = ("source.features", "target.features")

    def __init__(self, *, trade_off: float = 0.05, step: float = 1.0) -> None:
        super().__init__()
        self.trade_off, self.step = trade_off, step

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        norms = [batch.features.norm(dim=1) for batch in (source, target)]
        self.figures = {
            f"{name}_norm": norm.detach().mean() for name, norm in zip(("source", "target"), norms)
        }
        losses = [(norm.detach() + self.step - norm).square().mean() for norm in norms]
        return losses[0] + losses[1]
