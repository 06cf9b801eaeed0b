"""Layer 4: what a trained alignment method is: a loss beside the task's, or steps of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.types import DomainBatch

Minimise = Callable[[Tensor, "Iterable[torch.optim.Optimizer]"], None]


class Objective(nn.Module, ABC):
    """A trained alignment loss; its own parameters join the optimizer of the network.

    `__init__` stores settings only. The loop calls `build` once, under a seeded generator, then
    adds ``trade_off * objective(source, target, progress)`` to the task loss of every step.

    Attributes
    ----------
    trade_off : float
        Weight of this loss beside the task loss.
    """

    trade_off: float = 1.0

    def build(self, num_features: int, num_classes: int) -> None:
        """Make the modules that this objective owns, for features (n, num_features).

        The default owns none. Weights are drawn from torch's current generator, which the caller
        has seeded.
        """

    @abstractmethod
    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """The loss of one step, a scalar tensor.

        Parameters
        ----------
        source, target : DomainBatch
            What the network made of a batch of each domain; their sizes may differ.
        progress : float
            Share of the training that lies behind, in [0, 1].
        """


class Procedure(ABC):
    """A method that does not fit one summed loss: it takes its own optimizer steps.

    The loop still owns batches, schedules, checkpoints and logs; every module and optimizer that
    a procedure names here is saved and resumed with it.
    """

    #: whether `step` receives labelled source rows; a source-free method receives None instead
    uses_source: bool = True

    @abstractmethod
    def build(
        self,
        network: nn.Module,
        num_classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    ) -> None:
        """Make own modules and optimizers for `network`; called once, under a seeded generator."""

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """Every module whose state must survive a crash, the network included, by name."""

    @abstractmethod
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Every optimizer, by name."""

    @abstractmethod
    def step(
        self, source: Any, target: Any, progress: float, minimise: Minimise
    ) -> dict[str, float]:
        """One step on a raw batch of each domain; returns the losses to log, by name.

        Parameters
        ----------
        source : batch with ``inputs`` and ``labels``, or None where `uses_source` is False
        target : batch with ``inputs`` (and ``labels`` None)
        progress : float
            Share of the training that lies behind, in [0, 1].
        minimise : callable
            ``minimise(loss, optimizers)``: zero, backward, clip, step; knows about accumulation,
            mixed precision and several processes, so that a method need not.
        """
