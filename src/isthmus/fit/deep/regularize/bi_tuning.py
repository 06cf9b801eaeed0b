"""Bi-Tuning: contrast between rows beside classes, from both heads (Zhong et al. 2021)."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from isthmus.errors import UsageError
from isthmus.fit.deep.regularize.base import Regularizer, copied, labelled, wide
from isthmus.types import DomainBatch

_NEEDED = {
    "why": "its weights are compared with the rows, one a class",
    "remedy": "End the head with a linear layer: make_head(...), or leave this penalty out",
}


class BiTuning(Regularizer):
    """Contrastive cross-entropy on the classifier head, and contrast on a projection head.

    A slow copy of the network encodes keys; a queue keeps the last keys of every class. Keys of
    the row's own class attract it, the others repel it, once as ``w_y . h`` between the class's
    weights and the keys' features, once as ``q . k`` between unit projections (Zhong, You, Wang
    and Long, *Bi-tuning: efficient transfer from pre-trained models*, 2021, eq. 3 and 5).

    Parameters
    ----------
    queue : int, default=8
        Keys kept of each class (L of the paper is 8 to 40).
    width : int, default=128
        Of the projections.
    temperature : float, default=0.07
    momentum : float, default=0.999
        Of the slow copy.
    trade_off : float, default=1.0

    Notes
    -----
    Features are what the head's last linear layer reads: with dense layers before it they are
    computed once more from the batch's features, dropout drawn anew. Key and query are made of the
    same inputs (the paper: two augmented views); dropout and the copy's lag tell them apart. The
    slow copy and the queue are part of the saved state.
    """

    keys_h: Tensor
    keys_p: Tensor
    filled: Tensor

    needs_pretrained: ClassVar[bool] = False

    def __init__(
        self,
        *,
        queue: int = 8,
        width: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.999,
        trade_off: float = 1.0,
    ) -> None:
        super().__init__(trade_off=trade_off)
        self.queue, self.width, self.temperature = queue, width, temperature
        self.momentum = momentum

    def prepare(self, network: nn.Module, num_classes: int) -> None:
        """The slow copy, the projections and an empty queue."""
        last = last_linear(network.get_submodule("head"))
        if last.out_features != num_classes:
            raise UsageError(
                f"the head's last linear layer gives {last.out_features} values for "
                f"{num_classes} classes",
                where="BiTuning",
                **_NEEDED,
            )
        size = last.in_features
        self.projector = nn.Linear(size, self.width)
        self.slow = copied(network).requires_grad_(False)
        self.slow_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.register_buffer("keys_h", torch.zeros(num_classes, self.queue, size))
        self.register_buffer("keys_p", torch.zeros(num_classes, self.queue, self.width))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.long))

    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        rows, labels = labelled(batch)
        self._follow(network)
        if not len(rows):
            return batch.features.sum() * 0
        with torch.no_grad():
            slow: Tensor = self.slow.features(batch.inputs)  # type: ignore[operator]
            h = read_last(self.slow.get_submodule("head"), slow)[rows].to(self.keys_h)
            p = F.normalize(self.slow_projector(h), dim=1)
        head = network.get_submodule("head")
        z = wide(read_last(head, batch.features))[rows]
        query = F.normalize(self.projector(z), dim=1)
        weight = wide(last_linear(head).weight)
        there = torch.arange(self.queue, device=labels.device) < self.filled[:, None]
        classes = torch.arange(len(self.filled), device=labels.device)[:, None].expand_as(there)
        owner = torch.cat([labels, classes[there]])
        same = labels[:, None] == owner[None]
        # which rows belong to the class? Those of this step are the network's own, with gradient
        features = F.normalize(torch.cat([z, self.keys_h[there]]), dim=1)
        by_class = F.normalize(weight, dim=1)[labels] @ features.T
        projections = torch.cat([p, self.keys_p[there]])
        loss = contrast(by_class, same, self.temperature)
        loss = loss + contrast(query @ projections.T, same, self.temperature)
        self._remember(h, p, labels)
        return loss

    @torch.no_grad()
    def _follow(self, network: nn.Module) -> None:
        """The slow copy takes a small step towards the network."""
        for slow, now in ((self.slow, network), (self.slow_projector, self.projector)):
            for a, b in zip(slow.parameters(), now.parameters()):
                a.lerp_(b, 1 - self.momentum)
            for kept, new in zip(slow.buffers(), now.buffers()):
                kept.copy_(new)

    @torch.no_grad()
    def _remember(self, h: Tensor, p: Tensor, labels: Tensor) -> None:
        """New keys in front, the oldest of their class fall out."""
        for label in labels.unique():
            own = labels == label
            self.keys_h[label] = torch.cat([h[own], self.keys_h[label]])[: self.queue]
            self.keys_p[label] = torch.cat([p[own], self.keys_p[label]])[: self.queue]
            self.filled[label] = (self.filled[label] + own.sum()).clamp_max(self.queue)


def last_linear(head: nn.Module) -> nn.Linear:
    """The linear layer whose weights stand for the classes.

    Raises
    ------
    UsageError
        If the head has none.
    """
    found = [part for part in head.modules() if isinstance(part, nn.Linear)]
    if not found:
        raise UsageError(
            f"the head, a {type(head).__name__}, has no linear layer",
            where="BiTuning",
            **_NEEDED,
        )
    return found[-1]


def read_last(head: nn.Module, features: Tensor) -> Tensor:
    """(n, d): what the last linear layer of a head reads; the head's statistics stay."""
    last = last_linear(head)
    if last is head:
        return features
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    kind = last.weight.dtype
    buffers = {name: value.clone() for name, value in head.named_buffers()}
    try:
        functional_call(head, buffers, (features.to(kind),))
    finally:
        hook.remove()
    return seen[-1]


def contrast(similarity: Tensor, same: Tensor, temperature: float) -> Tensor:
    """``-mean over own keys of log softmax(similarity / temperature)``, mean over rows.

    Parameters
    ----------
    similarity : tensor of shape (n, m)
        Of each row to each key.
    same : bool tensor of shape (n, m)
        Keys of the row's class; each row has at least one.
    """
    log_share = (similarity / temperature).log_softmax(1)
    return -((log_share * same).sum(1) / same.sum(1).clamp_min(1)).mean()
