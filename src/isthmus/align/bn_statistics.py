"""AdaBN: batch normalisation with the statistics of the target (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.errors import UsageError


def norm_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Batch-normalisation layers of `model` that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def adapt_bn_statistics(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    keep: float = 0.0,
    forward: Callable[[nn.Module, Any], Any] | None = None,
) -> int:
    """Replace the running statistics of every BN layer by those of the target, in place.

    ``m = (1 - keep) m_target + keep m_source``, the same for the variance, over all rows of the
    stream; weights stay as they are (Li, Wang, Shi, Liu and Hou, *Revisiting batch normalization
    for practical domain adaptation*, ICLR workshop 2017; `keep` as in Schneider et al., NeurIPS
    2020, eq. 3, ``keep = N / (N + n)``).

    Parameters
    ----------
    model : nn.Module
        Its modes (train, eval) are as they were afterwards.
    batches : iterable
        Target rows, unlabelled: what `model` takes, any number of batches of one size. They are
        read once. The statistics of a layer are those of its inputs while all layers normalise
        by the batch at hand, as in training.
    keep : float, default=0.0
        Share of the source's statistics, in [0, 1]; 0 is AdaBN. More is safer for few rows.
    forward : callable, optional
        ``forward(model, batch)`` where a batch is not the only argument.

    Returns
    -------
    int
        BN layers that were adapted.

    Raises
    ------
    UsageError
        If the model has no BN layer with statistics, `keep` is no share, or no batch came.
    """
    layers = norm_layers(model)
    if not layers:
        raise UsageError(
            "the network has no batch normalisation with running statistics",
            where="adapt_bn_statistics",
            remedy="Use another method: layer normalisation has no statistics to replace",
        )
    if not 0 <= keep <= 1:
        raise UsageError(f"keep={keep}", remedy="keep is a share between 0 and 1")
    source = {
        name: (layer.running_mean.clone(), layer.running_var.clone())  # type: ignore[union-attr,operator]
        for name, layer in layers.items()
    }
    seen = 0
    with collecting(model, layers), torch.no_grad():
        for batch in batches:
            forward(model, batch) if forward else model(batch)
            seen += 1
    if not seen:
        raise UsageError("no target batch came", where="adapt_bn_statistics")
    for name, layer in layers.items():
        for now, before in zip((layer.running_mean, layer.running_var), source[name]):
            now.lerp_(before, keep)  # type: ignore[union-attr,operator]
    return len(layers)


@contextmanager
def collecting(model: nn.Module, layers: dict[str, nn.Module]) -> Iterator[None]:
    """BN layers in training mode with a cumulative mean, everything else in eval mode."""
    modes = {module: module.training for module in model.modules()}
    momenta = {layer: layer.momentum for layer in layers.values()}
    model.eval()
    try:
        for layer in layers.values():
            layer.train()
            layer.reset_running_stats()  # type: ignore[operator]
            layer.momentum = None  # type: ignore[assignment]  # torch: the mean over batches
        yield
    finally:
        for layer, momentum in momenta.items():
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
