"""The network that is trained: body -> (bottleneck) -> features -> head -> logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.backbone.networks import find_layer
from isthmus.errors import UsageError
from isthmus.fit.deep.rows import Batch
from isthmus.fit.deep.width import width_of
from isthmus.types import DomainBatch


@dataclass(frozen=True)
class Outputs:
    """What a network makes of a batch.

    Parameters
    ----------
    features : tensor of shape (n, num_features)
        What the head reads.
    logits : tensor of shape (n, num_classes)
    layers : dict of tensors
        Outputs of `Network.layers`, by name.
    """

    features: Tensor
    logits: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)

    def split(self, first: int) -> tuple[Outputs, Outputs]:
        """The first rows, and the others; going back, their gradients are joined by one copy."""

        def cut(value: Tensor) -> tuple[Tensor, ...]:
            return value.split([first, len(value) - first])

        layers = {name: cut(value) for name, value in self.layers.items()}
        pairs = zip(cut(self.features), cut(self.logits), strict=True)
        here, there = (
            Outputs(features, logits, {name: value[k] for name, value in layers.items()})
            for k, (features, logits) in enumerate(pairs)
        )
        return here, there

    def as_domain(self, batch: Batch) -> DomainBatch:
        """Together with the batch that it was made of, as alignment objectives see it."""
        return DomainBatch(
            self.features, self.logits, batch.labels, batch.inputs, batch.rows, self.layers
        )


class Network(nn.Module):
    """A body and a head, with the two places between that methods of adaptation speak of.

    Parameters
    ----------
    body : nn.Module
        Inputs -> (n, d). Of a dict of inputs it gets one keyword argument each.
    num_classes : int
        Outputs of the head (1 for regression).
    num_features : int, optional
        d; default: the body's attribute ``num_features``, or what its layers tell (see
        `isthmus.fit.deep.width`).
    bottleneck : int or nn.Module, optional
        An int: ``Linear(d, bottleneck)``, batch norm, ReLU, as the image papers have it. A module
        with an attribute ``num_features``, or ending in a linear layer.
    head : nn.Module, optional
        Default: one linear layer.
    layers : sequence of str
        Names of modules inside (``body.conv.4``) whose outputs `outputs` gives as well.

    Attributes
    ----------
    num_features : int
        Width of the features: what the head reads, after the bottleneck.

    Raises
    ------
    UsageError
        If a width is unknown, or a layer is not there.
    """

    def __init__(
        self,
        body: nn.Module,
        num_classes: int,
        *,
        num_features: int | None = None,
        bottleneck: int | nn.Module | None = None,
        head: nn.Module | None = None,
        layers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        width = num_features or width_of(body)
        self.body = body
        if bottleneck is None:
            self.bottleneck: nn.Module = nn.Identity()
        elif isinstance(bottleneck, int):
            parts = (nn.Linear(width, bottleneck), nn.BatchNorm1d(bottleneck), nn.ReLU())
            self.bottleneck, width = nn.Sequential(*parts), bottleneck
        else:
            self.bottleneck, width = bottleneck, width_of(bottleneck)
        self.num_features, self.num_classes = width, num_classes
        self.head = nn.Linear(width, num_classes) if head is None else head
        self.layers = tuple(layers)
        self._seen: dict[str, Tensor] = {}
        for name in self.layers:
            find_layer(self, name).register_forward_hook(_Keep(self._seen, name))

    def features(self, inputs: Any) -> Tensor:
        """(n, num_features): what the head reads."""
        raw = self.body(**inputs) if isinstance(inputs, Mapping) else self.body(inputs)
        found: Tensor = self.bottleneck(raw)
        return found

    def forward(self, inputs: Any) -> Tensor:
        """(n, num_classes) logits."""
        logits: Tensor = self.head(self.features(inputs))
        return logits

    def outputs(self, inputs: Any) -> Outputs:
        """Features, logits and the named layers, all in float32 whatever the body computes in."""
        self._seen.clear()
        features = self.features(inputs)
        logits = self.head(features)
        layers = {name: self._seen[name].float() for name in self.layers}
        self._seen.clear()
        return Outputs(features.float(), logits.float(), layers)


class _Keep:
    """A forward hook that keeps what a layer put out; the next layer may work in place."""

    def __init__(self, seen: dict[str, Tensor], name: str) -> None:
        self.seen, self.name = seen, name

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise UsageError(
                f"the layer {self.name!r} does not put out one array",
                why=f"but a {type(output).__name__}",
                remedy="Choose a layer inside or before it",
            )
        self.seen[self.name] = output.clone()


def joined_inputs(first: Any, second: Any) -> Any:
    """Inputs of two batches as those of one."""
    if isinstance(first, Mapping):
        return {name: torch.cat([first[name], second[name]]) for name in first}
    return torch.cat([first, second])
