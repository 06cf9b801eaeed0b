"""Methods that come after a training, by name: a trained network meets target rows once.

They need neither labels nor source rows, and what is left is a plain network: its batch norms
hold the target's statistics, its head the target's prototypes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import nn

from isthmus.align.bn_statistics import adapt_bn_statistics, norm_layers
from isthmus.align.t3a import T3A
from isthmus.align.tent import Tent
from isthmus.align.views import need_classes
from isthmus.errors import UsageError


class AfterTraining(ABC):
    """A method without a training of its own; it changes a trained network in place."""

    name: ClassVar[str]  # as it is given

    def check(self, network: Any) -> None:  # noqa: B027 - not every method asks for something
        """Refuse a network that the method can do nothing with, before it is trained.

        Raises
        ------
        UsageError
        """

    @abstractmethod
    def adapt(self, network: Any, batches: Iterable[Any]) -> None:
        """Adapt a `isthmus.fit.deep.network.Network` to batches of target inputs, well mixed."""


class _Norms(AfterTraining):
    def check(self, network: Any) -> None:
        if not norm_layers(network):
            raise UsageError(
                f"{self.name} needs batch normalisation, and the network has none",
                remedy="Use method='t3a', which needs a linear head only, or another network",
            )


class TargetStatistics(_Norms):
    """AdaBN by name (``"adabn"``): see `isthmus.align.bn_statistics.adapt_bn_statistics`.

    Parameters
    ----------
    keep : float, default=0.0
        Share of the source's statistics; more is safer for few rows.
    """

    name = "adabn"

    def __init__(self, *, keep: float = 0.0) -> None:
        self.keep = keep

    def adapt(self, network: Any, batches: Iterable[Any]) -> None:
        adapt_bn_statistics(network, batches, keep=self.keep)


class EntropySteps(_Norms):
    """TENT by name (``"tent"``): see `isthmus.align.tent.Tent`.

    One step a batch, then the statistics of all target rows, so that rows are answered one by one
    and in any order; the paper goes on learning while it answers.

    Parameters
    ----------
    lr : float, default=1e-3
    steps : int, default=1
    """

    name = "tent"

    def __init__(self, *, lr: float = 1e-3, steps: int = 1) -> None:
        self.lr, self.steps = lr, steps

    def adapt(self, network: Any, batches: Iterable[Any]) -> None:
        rows = list(batches)
        learn = Tent(network, lr=self.lr, steps=self.steps)
        for batch in rows:
            learn(batch)
        adapt_bn_statistics(network, rows)


class TargetPrototypes(AfterTraining):
    """T3A by name (``"t3a"``): see `isthmus.align.t3a.T3A`.

    The last layer becomes the prototypes after all target rows; in the paper a row is answered by
    the prototypes of those before it.

    Parameters
    ----------
    keep : int or None, default=20
    """

    name = "t3a"

    def __init__(self, *, keep: int | None = 20) -> None:
        self.keep = keep

    def check(self, network: Any) -> None:
        need_classes(network.num_classes, who="T3A")
        _last_linear(network)

    def adapt(self, network: Any, batches: Iterable[Any]) -> None:
        before, last = _last_linear(network)
        prototypes = T3A(last.weight, last.bias, keep=self.keep)
        network.eval()
        with torch.no_grad():
            for batch in batches:
                prototypes(before(network.features(batch)))
            weight = prototypes.prototypes()
            made = nn.Linear(weight.shape[1], len(weight), bias=False).to(weight)
            made.weight.copy_(weight)
        if isinstance(network.head, nn.Sequential):
            network.head[-1] = made
        else:
            network.head = made


def _last_linear(network: Any) -> tuple[nn.Module, nn.Linear]:
    """What of the head comes before its last linear layer, and that."""
    head = network.head
    if isinstance(head, nn.Linear):
        return nn.Identity(), head
    if isinstance(head, nn.Sequential) and len(head) and isinstance(head[-1], nn.Linear):
        return head[:-1], head[-1]
    raise UsageError(
        f"T3A needs a head that ends in a linear layer, not a {type(head).__name__}",
        remedy="Use another head, or method='adabn'",
    )


NAMES: dict[str, type[AfterTraining]] = {
    kind.name: kind for kind in (TargetStatistics, TargetPrototypes, EntropySteps)
}
