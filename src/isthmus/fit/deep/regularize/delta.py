"""DELTA: feature maps stay near where they started, useful channels more so (Li et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import UsageError
from isthmus.fit.deep.regularize.base import Regularizer
from isthmus.types import DomainBatch


class DELTA(Regularizer):
    """``sum_layers mean_rows sum_channels a_c |F_c(x) - F0_c(x)|^2``.

    Li, Xiong, Wang, Rao, Liu and Huan, *DELTA: deep learning transfer using feature map with
    attention for convolutional networks*, ICLR 2019, eq. 4-5.

    Parameters
    ----------
    layers : tuple of str, default=("features",)
        ``features`` or names of ``network.layers``.
    attention : mapping of str to tensor, optional
        Weights (c,) of the channels of each layer, summing to 1, e.g. from `channel_attention`.
        Default: all channels alike, 1 / c ("DELTA without attention" of the paper).
    trade_off : float, default=0.01
        The paper's alpha.
    pretrained : nn.Module, optional
        See `Regularizer`.

    Notes
    -----
    One more forward pass of the pretrained network a step. The paper adds a weight decay of
    0.01 / 2 on the head: use the optimizer's.
    """

    calls: ClassVar[str] = "outputs"

    def __init__(
        self,
        *,
        layers: tuple[str, ...] = ("features",),
        attention: Mapping[str, Tensor] | None = None,
        trade_off: float = 0.01,
        pretrained: nn.Module | None = None,
    ) -> None:
        super().__init__(trade_off=trade_off, pretrained=pretrained)
        self.layers, self.attention = layers, attention

    def prepare(self, network: nn.Module, num_classes: int) -> None:
        known = {"features", *getattr(network, "layers", ())}
        other = set(getattr(self.pretrained, "layers", ())) | {"features"}
        for name in self.layers:
            if name not in known or name not in other:
                whose = "pretrained network" if name in known else "network"
                raise UsageError(
                    f"the {whose} gives no layer {name!r}",
                    where="DELTA",
                    remedy="Name it in Network(layers=...)",
                )

    def penalty(self, network: nn.Module, batch: DomainBatch) -> Tensor:
        with torch.no_grad():
            before = self.pretrained.outputs(batch.inputs)
        total = batch.logits.new_zeros(())
        for name in self.layers:
            now = batch.features if name == "features" else batch.layers[name]
            then = before.features if name == "features" else before.layers[name]
            if now.shape != then.shape:
                raise UsageError(
                    f"{name!r} is {tuple(now.shape[1:])} a row, and was {tuple(then.shape[1:])}",
                    where="DELTA",
                    why="changes are taken value by value",
                    remedy="Give a pretrained network of the same layers",
                )
            changes = (now - then).square().flatten(2).sum(2) if now.ndim > 2 else (now - then) ** 2
            weights = None if self.attention is None else self.attention.get(name)
            if weights is None:
                total = total + changes.mean(1).mean()
            elif weights.shape != changes.shape[1:]:
                raise UsageError(
                    f"weights {tuple(weights.shape)} for {changes.shape[1]} channels of {name!r}",
                    where="DELTA",
                    remedy="Use channel_attention(...) of that layer",
                )
            else:
                total = total + (changes * weights.to(changes)).sum(1).mean()
        return total


@torch.no_grad()
def channel_attention(network: nn.Module, inputs: Tensor, labels: Tensor, layer: str) -> Tensor:
    """(c,) weights: softmax of how much the loss rises when a channel of `layer` is put to 0.

    Li et al. 2019, eq. 6, on the labelled target rows given; the head should have been trained on
    the frozen features first. The cost is one forward pass a channel.

    Parameters
    ----------
    network : nn.Module
        Inputs -> logits; in eval mode while it is asked.
    layer : str
        Name of a module whose output has its channels in the second dimension.
    """
    mode = network.training
    network.eval()
    removed: list[int] = []

    def remove(module: nn.Module, given: object, output: Tensor) -> Tensor:
        width.append(output.shape[1])
        if not removed:
            return output
        output = output.clone()
        output[:, removed] = 0
        return output

    width: list[int] = []
    hook = network.get_submodule(layer).register_forward_hook(remove)
    try:
        base = F.cross_entropy(network(inputs), labels)
        rises = []
        for channel in range(width[0]):
            removed[:] = [channel]
            rises.append(F.cross_entropy(network(inputs), labels) - base)
    finally:
        hook.remove()
        network.train(mode)
    return torch.stack(rises).softmax(0)
