"""LwF: answers to the old question stay what they were (Li and Hoiem 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import UsageError
from isthmus.fit.deep.regularize.base import Regularizer, answers, wide_copy
from isthmus.types import DomainBatch


class LwF(Regularizer):
    """Learning without forgetting: the old head's answers on new rows are kept by distillation.

    ``T^2 KL(softmax(o / T) | softmax(o' / T))``, o the logits that the pretrained network's head
    gave, o' what a trained copy of that head gives now (Li and Hoiem, *Learning without
    forgetting*, ECCV 2016, eq. 2-3; the factor T^2 of Hinton et al. 2015 keeps the gradient's
    size). Plain distillation is the same without a head of its own: `distillation`.

    Parameters
    ----------
    source_head : nn.Module, optional
        Features (n, d) -> logits of the old classes. Default: the pretrained network's ``head``.
    temperature : float, default=2.0
        The paper's.
    trade_off : float, default=1.0
        The paper's lambda.
    pretrained : nn.Module, optional
        See `Regularizer`.
    """

    def __init__(
        self,
        source_head: nn.Module | None = None,
        *,
        temperature: float = 2.0,
        trade_off: float = 1.0,
        pretrained: nn.Module | None = None,
    ) -> None:
        super().__init__(trade_off=trade_off, pretrained=pretrained)
        self.temperature = temperature
        self._given = (source_head,)

    def prepare(self, network: nn.Module, num_classes: int) -> None:
        old = self._given[0] if self._given[0] is not None else self._own_head()
        place = next(self.pretrained.parameters(), torch.empty(0)).device
        self._old = (wide_copy(old).to(place).eval().requires_grad_(False),)
        self.source_head = wide_copy(old).requires_grad_(True)

    def _own_head(self) -> nn.Module:
        head = getattr(self.pretrained, "head", None)
        if not isinstance(head, nn.Module):
            raise UsageError(
                f"the pretrained {type(self.pretrained).__name__} has no head",
                where="LwF",
                remedy="Give the old one: LwF(source_head)",
            )
        return head

    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        with torch.no_grad():
            wanted = answers(self._old[0], self.recall(batch.inputs), where="LwF")
        now = answers(self.source_head, batch.features, where="LwF")
        return distillation(now, wanted, self.temperature)


def distillation(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(teacher | student)`` at temperature T, mean over rows (Hinton et al. 2015).

    Parameters
    ----------
    logits, wanted : tensor of shape (n, k)
        Of the student and of the teacher; no gradient reaches the teacher.
    """
    student = (logits / temperature).log_softmax(1)
    teacher = (wanted.detach() / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
