"""Layer 5: what a regulariser of fine-tuning is: a penalty that may look at the pretrained network.

The loop calls `build` once, on the network as it is before the first step, and adds the value of
``penalty(network, batch)`` to the task loss of every step.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isthmus.align.views import need_weight
from isthmus.errors import UsageError, is_out_of_memory
from isthmus.types import DomainBatch

NEW = ("bottleneck", "head")  # parts of a network that start from chance


class Regularizer(nn.Module, ABC):
    """A penalty beside the task loss; own parameters join the optimizer of the network.

    Parameters
    ----------
    trade_off : float
        Weight of the penalty.
    pretrained : nn.Module, optional
        The network to stay near. Default: a copy of the network that is trained, from before the
        first step. It is frozen, in eval mode, and no part of the saved state: a resumed run
        starts from the same weights and makes it anew.
    """

    def __init__(self, *, trade_off: float, pretrained: nn.Module | None = None) -> None:
        super().__init__()
        self.trade_off = trade_off
        # in a tuple, so that neither the optimizer nor a checkpoint takes them for own weights
        self._pretrained: tuple[nn.Module, ...] = () if pretrained is None else (pretrained,)

    #: whether a copy of the pretrained network is kept
    needs_pretrained: ClassVar[bool] = True
    #: what of the pretrained network is called; "" where its weights alone are read
    calls: ClassVar[str] = "features"

    def build(self, network: nn.Module, num_classes: int) -> None:
        """Called once before training; a method with modules of its own makes them in `prepare`.

        Raises
        ------
        UsageError
            If the network lacks what the method reads, or the weight is none.
        """
        need_weight(self.trade_off, who=type(self).__name__)
        if self.needs_pretrained:
            given = self._pretrained[0] if self._pretrained else network
            if self.calls and not callable(getattr(given, self.calls, None)):
                raise UsageError(
                    f"the pretrained {type(given).__name__} has no {self.calls}()",
                    where=type(self).__name__,
                    remedy="Give a Network(body, num_classes) of isthmus.fit.deep.network",
                )
            teacher = copied(given)
            place = next(iter(network.parameters()), torch.empty(0)).device
            self._teacher = (teacher.to(place).eval().requires_grad_(False),)
        self.prepare(network, num_classes)

    def prepare(self, network: nn.Module, num_classes: int) -> None:
        """Make own modules for `network`; `pretrained` is there already."""

    @property
    def pretrained(self) -> Any:
        """The frozen network to stay near.

        Raises
        ------
        UsageError
            If `build` was not called.
        """
        if not hasattr(self, "_teacher"):
            raise UsageError("build() comes first", where=type(self).__name__)
        return self._teacher[0]

    @torch.no_grad()
    def recall(self, inputs: Any) -> Tensor:
        """(n, d) features that the pretrained network makes of `inputs`."""
        return wide(self.pretrained.features(inputs))

    def forward(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        """The weighted penalty of one step, a scalar.

        Parameters
        ----------
        network : nn.Module
            The network that is trained (`isthmus.fit.deep.network.Network`).
        batch : DomainBatch
            What it made of the labelled batch.
        """
        return self.trade_off * self.penalty(network, batch)

    @abstractmethod
    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        """The penalty before its weight, a scalar."""


def copied(network: nn.Module) -> nn.Module:
    """A deep copy; what hooks kept of the last forward pass has a graph and cannot be copied.

    Raises
    ------
    UsageError
        If the network keeps other tensors with a graph.
    """
    kept = getattr(network, "_seen", None)
    if isinstance(kept, dict):
        kept.clear()
    try:
        return copy.deepcopy(network)
    except RuntimeError as error:
        if "deepcopy" not in str(error):
            raise
        raise UsageError(
            f"the {type(network).__name__} cannot be copied",
            why="a layer keeps a tensor that was computed, as the old weight_norm and "
            "spectral_norm of torch.nn.utils do",
            remedy="Use those of torch.nn.utils.parametrizations",
        ) from None


def wide(value: Tensor) -> Tensor:
    """Half precision as float32, anything else as it is."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def wide_copy(head: nn.Module) -> nn.Module:
    """A copy of a head that reads what `wide` gives."""
    made = copied(head)
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in made.parameters())
    return made.float() if half else made


def answers(head: nn.Module, features: Tensor, *, where: str) -> Tensor:
    """Logits of a head that came from elsewhere.

    Raises
    ------
    UsageError
        If it is made for other features.
    """
    try:
        logits: Tensor = head(features)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UsageError(
            "the source head cannot read the features",
            where=where,
            why=f"the network gives {tuple(features.shape[1:])} a row: {str(error)[:120]}",
            remedy="Give a head of that width; a network with a bottleneck has other features "
            "than its body",
        ) from None
    return logits


def is_new(name: str, new: tuple[str, ...]) -> bool:
    """Whether a parameter belongs to a part that starts from chance."""
    return any(name == part or name.startswith(part + ".") for part in new)


def labelled(batch: DomainBatch) -> tuple[Tensor, Tensor]:
    """Positions of the rows that have a label (0 and more), and their labels.

    Raises
    ------
    UsageError
        If the batch has no class labels.
    """
    if batch.labels is None or batch.labels.is_floating_point() or batch.labels.ndim != 1:
        raise UsageError(
            "this penalty needs one class label a row",
            remedy="Leave it out, or use one of features alone: delta, bss, rkd, l2-sp",
        )
    rows = (batch.labels >= 0).nonzero()[:, 0]
    return rows, batch.labels[rows]
