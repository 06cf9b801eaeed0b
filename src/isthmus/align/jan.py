"""JAN: the discrepancy of features and predictions taken together (Long et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from isthmus.align.base import Objective
from isthmus.align.kernels import discrepancy, joint_gram
from isthmus.align.views import layer
from isthmus.types import DomainBatch


class JAN(Objective):
    """Joint adaptation network: MMD with the product of the layers' kernels.

    ``k(i, j) = prod_layers k_l(z_i, z_j)``, by default of features and predictions: rows are near
    only where both are (Long, Zhu, Wang and Jordan, *Deep transfer learning with joint adaptation
    networks*, ICML 2017, eq. 7-9). With one layer it is `DAN`.

    Parameters
    ----------
    trade_off : float, default=1.0
    layers : tuple of str, default=("features", "predictions")
        As for `DAN`.

    Notes
    -----
    Kernels are those of `DAN` for every layer; the paper gives the predictions one bandwidth.
    """

    reaches: ClassVar[tuple[str, ...]] = (
        "source.features",
        "source.logits",
        "target.features",
        "target.logits",
    )

    def __init__(
        self, *, trade_off: float = 1.0, layers: tuple[str, ...] = ("features", "predictions")
    ) -> None:
        super().__init__()
        self.trade_off, self.layers = trade_off, layers

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        first, *others = (
            joint_gram(layer(source, name), layer(target, name)) for name in self.layers
        )
        for gram in others:
            first = first * gram
        return discrepancy(first, len(source.features))
