"""Layer 4: what of a batch a method reads, and the checks that several methods share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isthmus.errors import UsageError
from isthmus.types import DomainBatch


def layer(batch: DomainBatch, name: str) -> Tensor:
    """(n, d) values of one layer: ``features``, ``logits``, ``predictions`` (softmax) or a name.

    Raises
    ------
    UsageError
        If the batch has no such layer; those it has are named.
    """
    if name in ("features", "logits"):
        values: Tensor = getattr(batch, name)
    elif name == "predictions":
        values = batch.logits.softmax(1)
    elif name in batch.layers:
        values = batch.layers[name]
    else:
        known = ", ".join(["features", "logits", "predictions", *batch.layers])
        raise UsageError(f"the batch has no layer {name!r}", remedy=f"Use one of {known}")
    return values.flatten(1)


def need_classes(num_classes: int, *, who: str) -> None:
    """Refuse values where a method needs classes.

    Raises
    ------
    UsageError
        If the head has fewer than two outputs.
    """
    if num_classes < 2:
        raise UsageError(
            f"{who} needs classes",
            why=f"the head has {num_classes} output",
            remedy="For values use DANN, DAN, DeepCORAL or WDGRL",
        )


def need_share(value: float, name: str, *, who: str) -> None:
    """Refuse what is no share.

    Raises
    ------
    UsageError
        If `value` lies outside [0, 1].
    """
    if not 0 <= value <= 1:
        raise UsageError(f"{who}: {name}={value}", remedy=f"{name} is a share between 0 and 1")


def need_weight(value: float, *, who: str) -> None:
    """Refuse what is no weight of a loss.

    Raises
    ------
    UsageError
        If `value` is negative, infinite or NaN.
    """
    if not 0 <= value < math.inf:
        raise UsageError(
            f"trade_off={value}",
            where=who,
            why="a negative weight asks for the opposite of the method",
            remedy="Give a finite number, 0 or more",
        )


def need_labels(batch: DomainBatch, *, who: str) -> Tensor:
    """(n,) labels of a source batch, -1 where a row has none.

    Raises
    ------
    UsageError
        If the batch has no labels at all.
    """
    if batch.labels is None:
        raise UsageError("the source batch has no labels", where=who)
    labels: Tensor = batch.labels
    return labels


def entropy(logits: Tensor) -> Tensor:
    """(n,) entropy of softmax(logits) in nats, without log(0)."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def full_precision(values: Tensor) -> Tensor:
    """float32 where `values` came in half precision from autocast, else as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def refuse_second_derivative(what: str) -> None:
    """To be called in a closed-form `backward`, whose result has no graph.

    torch's `once_differentiable` lets a graph through whose incoming gradient is a constant.

    Raises
    ------
    UsageError
        If the gradient is to be differentiated itself.
    """
    if torch.is_grad_enabled():
        raise UsageError(
            f"the gradient of {what} cannot be differentiated",
            why="it is in closed form",
            remedy="Leave out create_graph=True",
        )
