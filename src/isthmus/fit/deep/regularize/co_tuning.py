"""Co-Tuning: the pretrained head stays at work, on its own classes (You et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.errors import UsageError
from isthmus.fit.deep.regularize.base import Regularizer, answers, labelled, wide_copy
from isthmus.types import DomainBatch


class CoTuning(Regularizer):
    """``CE(p(source class | y), source head(features))`` beside the task loss.

    The fully pretrained network, its head included, is fine-tuned: each target label y is also
    taught as a mixture of source classes (You, Kou, Long and Wang, *Co-Tuning for transfer
    learning*, NeurIPS 2020, eq. 1-2).

    Parameters
    ----------
    source_head : nn.Module
        Features (n, d) -> logits of the source's classes (n, k_s). A copy is trained on.
    relationship : tensor of shape (k_t, k_s)
        Rows sum to 1: `category_relationship`.
    trade_off : float, default=2.3
        The paper's lambda.

    Raises
    ------
    UsageError
        If the relationship is no table of shares.
    """

    needs_pretrained: ClassVar[bool] = False

    def __init__(
        self, source_head: nn.Module, relationship: Tensor, *, trade_off: float = 2.3
    ) -> None:
        super().__init__(trade_off=trade_off)
        sums = relationship.sum(-1)
        shares = bool((relationship >= 0).all())
        if (
            relationship.ndim != 2
            or not shares
            or not torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        ):
            raise UsageError(
                "the relationship is a table (target classes, source classes) of shares",
                where="CoTuning",
                remedy="Use category_relationship(...)",
            )
        self.source_head = wide_copy(source_head).requires_grad_(True)
        self.register_buffer("relationship", relationship.detach().clone())

    def prepare(self, network: nn.Module, num_classes: int) -> None:
        """Check the number of classes.

        Raises
        ------
        UsageError
            If the relationship has another number of target classes.
        """
        rows = len(self.get_buffer("relationship"))
        if rows != num_classes:
            raise UsageError(
                f"a relationship of {rows} classes for {num_classes}", where="CoTuning"
            )

    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        rows, labels = labelled(batch)
        if not len(rows):
            return batch.features.sum() * 0
        log_proba = answers(self.source_head, batch.features[rows], where="CoTuning").log_softmax(1)
        wanted = self.get_buffer("relationship")[labels]
        if log_proba.shape != wanted.shape:
            raise UsageError(
                f"the source head answers {log_proba.shape[1]} classes, the relationship has "
                f"{wanted.shape[1]}",
                where="CoTuning",
                remedy="Use category_relationship(...) of what this head predicts",
            )
        return -(wanted * log_proba).sum(1).mean()


def category_relationship(source_proba: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(k_t, k_s) ``p(source class | target class)``: the mean source prediction of each class.

    The paper's direct approach (You et al. 2020, section 3.2). Calibrate the source head first
    (a temperature): sure predictions make the table too sharp. A class without rows gets the mean
    of all.

    Parameters
    ----------
    source_proba : tensor of shape (n, k_s)
        What the pretrained network predicts for the labelled target rows.
    labels : tensor of shape (n,)
        Their target classes, 0 ... num_classes - 1.

    Examples
    --------
    >>> p = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    >>> category_relationship(p, torch.tensor([0, 0, 1]), 2).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    onehot = nn.functional.one_hot(labels, num_classes).to(source_proba)
    counts = onehot.sum(0)[:, None]
    means = onehot.T @ source_proba / counts.clamp_min(1)
    table = torch.where(counts > 0, means, source_proba.mean(0))
    return table / table.sum(1, keepdim=True)
