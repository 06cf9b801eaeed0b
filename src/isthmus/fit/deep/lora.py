"""LoRA for any network (Hu et al. 2022): ``W x + (alpha / rank) B A x``, W frozen, B = 0 at first.

A library for it exists (peft); it brings transformers' model hub and wrappers around the whole
network, for what is a parametrization of a weight. Here the sum is a torch parametrization: the
network keeps its class and its layers, any `nn.Module` will do, and `merge_lora` leaves the plain
network with the same outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isthmus.errors import UsageError
from isthmus.fit.deep.surgery import select


class LowRank(nn.Module):
    """``weight + scale * B A`` of a weight (out, ...), flattened to (out, in), in its type.

    A and B are float32 beside weights of half precision too: small steps would be rounded away.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        out, inner = weight.shape[0], weight[0].numel()
        self.scale = alpha / rank
        self.A = nn.Parameter(torch.empty(rank, inner))
        self.B = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        update = self.scale * (self.B @ self.A).view_as(weight)
        return (weight + update).to(weight.dtype)


def add_lora(
    module: nn.Module, *, rank: int = 8, alpha: float = 16.0, layers: Sequence[str] = ()
) -> list[str]:
    """Give layers a low-rank update, in place; return their names.

    Parameters
    ----------
    layers : sequence of str
        Names or patterns (``*.attn.qkv``); default: all linear layers, or all convolutions where
        there is no linear layer; those whose weight is another layer's too are left out.

    Raises
    ------
    UsageError
        If there is no such layer, or a named one shares its weight.
    """
    if rank < 1:
        raise UsageError(f"rank={rank}", remedy="Give at least 1")
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    usable = {n: m for n, m in module.named_modules() if isinstance(m, kinds) and n}
    if layers:
        weights = select(module, layers)
        chosen = [n for n in usable if f"{n}.weight" in weights]
    else:
        linear = [n for n, m in usable.items() if isinstance(m, nn.Linear)]
        chosen = linear or list(usable)
    chosen = [n for n in chosen if not parametrize.is_parametrized(usable[n])]
    tied = _tied(module)
    shared = [n for n in chosen if f"{n}.weight" in tied]
    if shared and layers:
        raise UsageError(
            f"{', '.join(shared)} cannot take a low-rank update",
            why="its weight is another layer's too, which would change with it",
            remedy="Name other layers",
        )
    chosen = [n for n in chosen if n not in shared]
    if not chosen:
        raise UsageError("no layer can take a low-rank update", remedy="Name some: layers=(...)")
    for name in chosen:
        part: Any = usable[name]
        low = LowRank(
            part.weight, min(rank, *part.weight.reshape(len(part.weight), -1).shape), alpha
        )
        parametrize.register_parametrization(part, "weight", low.to(part.weight.device))
        part.parametrizations.weight.original.requires_grad_(False)
    return chosen


def _tied(module: nn.Module) -> set[str]:
    """Names of the weights that stand in several places."""
    names: dict[int, list[str]] = {}
    for name, p in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(name)
    return {name for found in names.values() if len(found) > 1 for name in found}


def lora_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """The A and B of every update."""
    for part in module.modules():
        if isinstance(part, LowRank):
            yield from part.parameters()


def merge_lora(module: nn.Module) -> int:
    """Add the updates to the weights and remove them, in place; return how many there were."""
    count = 0
    for part in list(module.modules()):
        if parametrize.is_parametrized(part, "weight") and any(
            isinstance(p, LowRank)
            for p in part.parametrizations.weight  # type: ignore[union-attr, index]
        ):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)
            count += 1
    return count
