"""L2-SP: weights stay near where they started (Li, Grandvalet and Davoine 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.errors import UsageError
from isthmus.fit.deep.regularize.base import NEW, Regularizer, is_new, wide
from isthmus.types import DomainBatch


class L2SP(Regularizer):
    """``alpha / 2 |w - w0|^2 + beta / 2 |v|^2``: w pretrained weights, v new ones.

    Li, Grandvalet and Davoine, *Explicit inductive bias for transfer learning with convolutional
    networks*, ICML 2018, eq. 2.

    Parameters
    ----------
    alpha : float, default=0.1
        The paper chooses 0.1 or 1 for most of its pairs; near tasks bear more.
    beta : float, default=0.01
        The paper's choice for the new weights.
    new : tuple of str, default=("bottleneck", "head")
        Parts of the network that start from chance.
    trade_off : float, default=1.0
    pretrained : nn.Module, optional
        See `Regularizer`.

    Notes
    -----
    Set the optimizer's weight decay to 0: it pulls the same weights towards 0. Parameters that
    are frozen cost nothing. Scales and shifts of normalisation layers are weights like others.
    """

    calls: ClassVar[str] = ""

    def __init__(
        self,
        *,
        alpha: float = 0.1,
        beta: float = 0.01,
        new: tuple[str, ...] = NEW,
        trade_off: float = 1.0,
        pretrained: nn.Module | None = None,
    ) -> None:
        super().__init__(trade_off=trade_off, pretrained=pretrained)
        self.alpha, self.beta, self.new = alpha, beta, new

    def prepare(self, network: nn.Module, num_classes: int) -> None:
        self._start = dict(self.pretrained.named_parameters())
        for name, value in network.named_parameters():
            if not is_new(name, self.new) and (
                name not in self._start or self._start[name].shape != value.shape
            ):
                raise UsageError(
                    f"{name} {tuple(value.shape)} has no pretrained value",
                    where="L2SP",
                    remedy="Name the part it belongs to in new=",
                )

    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        old = torch.zeros((), device=batch.logits.device, dtype=batch.logits.dtype)
        fresh = old
        for name, value in network.named_parameters():
            if not value.requires_grad:
                continue
            if is_new(name, self.new):
                fresh = fresh + wide(value).square().sum()
            else:
                old = old + (wide(value) - wide(self._start[name])).square().sum()
        return self.alpha / 2 * old + self.beta / 2 * fresh
