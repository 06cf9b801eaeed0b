"""Layer 4: the parts of a network that methods with steps of their own treat apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.align.views import full_precision
from isthmus.errors import UsageError


def encoder_parameters(network: Any) -> list[nn.Parameter]:
    """All parameters of a network but those of its head: what makes the features.

    Raises
    ------
    UsageError
        If there are none.
    """
    head = {id(parameter) for parameter in network.head.parameters()}
    found = [p for p in network.parameters() if id(p) not in head]
    if not found:
        raise UsageError(
            "the network has no weights below its head",
            why="the method moves the features and leaves the head",
            remedy="Give it a hidden layer, or use a method that moves the head too (dann, mcc)",
        )
    return found


def through_fixed_head(network: Any, features: Tensor) -> Tensor:
    """(n, k) logits in float32; the gradient reaches the features, and nothing of the head.

    The head computes in evaluation mode, so that its statistics stay as well. Whether its
    parameters are trainable is left as it is: they are so again after the run.
    """
    network.head.eval()
    values = {name: value.detach() for name, value in network.head.named_parameters()}
    return full_precision(functional_call(network.head, values, (features,)))


def another_head(head: nn.Module) -> nn.Module:
    """A head of the same shape with weights of its own, drawn from torch's current generator.

    Raises
    ------
    UsageError
        If a part of it does not know how to draw new weights.
    """
    import copy

    twin = copy.deepcopy(head)
    for name, part in twin.named_modules():
        if next(part.parameters(recurse=False), None) is None:
            continue
        draw = getattr(part, "reset_parameters", None)
        if draw is None:
            raise UsageError(
                f"a second head cannot be drawn like {type(head).__name__}",
                why=f"its part {name or 'itself'!r} has no reset_parameters",
                remedy="Use a head of ordinary layers",
            )
        draw()
    return twin


@torch.no_grad()
def evaluated(network: Any, rows: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """(features, logits) of all rows in their order, in evaluation mode, without augmentation."""
    network.eval()
    device = next(network.parameters()).device
    for batch in rows.in_order():
        out = network.outputs(batch.to(device).inputs)
        yield out.features, out.logits


def gathered(world: Any, rows: Tensor) -> Tensor:
    """Rows of all processes, where the loop runs in several; see its `World.gather`."""
    return rows if world is None else world.gather(rows)  # type: ignore[no-any-return]


def no_source(source: object, *, who: str) -> None:
    """Refuse source rows: a source-free method must never see them.

    Raises
    ------
    UsageError
        If there are any.
    """
    if source is not None:
        raise UsageError(
            f"{who} must not see source rows",
            why="a source-free method has the source's network and nothing else of it",
            remedy="Give target rows only",
        )
