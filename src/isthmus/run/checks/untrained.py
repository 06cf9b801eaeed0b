"""Layer 8: ISX017: layers of a custom network that still are as torch made them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from isthmus.data.checks.finding import Finding
from isthmus.run.checks.view import ModelView

LEAST = 256  # weights of a layer from which its distribution can be judged


def untrained(module: Any) -> tuple[list[str], int]:
    """Names of layers at torch's initial values, and how many layers were looked at.

    torch draws the weights of `Linear` and `Conv` evenly from +-1 / sqrt(inputs); training leaves
    neither that bound nor that shape. BatchNorm starts at mean 0 and variance 1.
    """
    import torch

    found, looked = [], 0
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            if layer.running_mean is None or layer.running_var is None:
                continue
            looked += 1
            start, one = layer.running_mean.any(), torch.ones_like(layer.running_var)
            fresh = not bool(start) and torch.equal(layer.running_var, one)
        elif isinstance(layer, kinds) and layer.weight.numel() >= LEAST:
            looked += 1
            weight = layer.weight.detach().float()
            bound = 1 / math.sqrt(weight[0].numel())
            largest = float(weight.abs().max())
            # of an even distribution: largest value at the bound, variance bound^2 / 3
            spread = float(weight.var()) * 3 / bound**2
            fresh = 0.97 * bound < largest <= 1.0001 * bound and abs(spread - 1) < 0.1
        else:
            continue
        if fresh:
            found.append(name or type(layer).__name__)
    return found, looked


def find(view: ModelView) -> Iterable[Finding]:
    """Untrained layers beside trained ones, or none trained at all."""
    if not view.by_items:
        return
    if view.backbone.reference.get("weights") == "random":
        yield _never_loaded(view, "the weights are random, as was asked for", "weights='random'")
        return
    if not view.custom:
        return  # leaves account for every tensor of the file
    for module in view.modules():
        names, looked = untrained(module)
        if names:
            yield _never_loaded(
                view,
                f"{len(names)} of {looked} layers hold initial weights: they were never loaded",
                f"first {', '.join(names[:4])}",
            )


def _never_loaded(view: ModelView, title: str, evidence: str) -> Finding:
    remedy = "Load the whole state (strict=True) and look at the names that do not fit"
    return view.found("ISX017", "warning", title, evidence, remedy)
