"""AdaBN: batch normalisation with the statistics of the target (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.errors import UsageError


def norm_layers(model: nn.Module) -> dict[str, Any]:
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

    ``m = (1 - keep) m_target + keep m_source``, the same for the variance, of all rows of the
    stream taken together, however they are batched; weights stay as they are (Li, Wang, Shi, Liu
    and Hou, *Revisiting batch normalization for practical domain adaptation*, ICLR workshop 2017;
    `keep` as in Schneider et al., NeurIPS 2020, eq. 3, ``keep = N / (N + n)``).

    Parameters
    ----------
    model : nn.Module
        Its modes (train, eval) are as they were afterwards.
    batches : iterable
        Target rows, unlabelled: what `model` takes, any number of batches of one size. They are
        read once. The statistics of a layer are those of its inputs while all layers normalise
        by the batch at hand, as in training: batches must be mixed.
    keep : float, default=0.0
        Share of the source's statistics, in [0, 1]; 0 is AdaBN. More is safer for few rows.
    forward : callable, optional
        ``forward(model, batch)`` where a batch is not the only argument.

    Returns
    -------
    int
        BN layers that were adapted, frozen ones too; one that no row passed stays as it is.

    Raises
    ------
    UsageError
        If the model has no BN layer with statistics, `keep` is no share, no batch came, or a
        batch has one row. The statistics are then as they were.
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
    moments = {name: _Moments() for name in layers}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, own=moments[name]: own.add(inputs[0]))
        for name, layer in layers.items()
    ]
    seen = 0
    try:
        with by_the_batch(model, layers.values()), torch.no_grad():
            for batch in batches:
                forward(model, batch) if forward else model(batch)
                seen += 1
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            f"target batch {seen} has a single row",
            where="adapt_bn_statistics",
            why="one row has no spread; the network is as it was",
            remedy="Use batches of another size, or leave the last one out (drop_last=True)",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise UsageError("no target batch came", where="adapt_bn_statistics")
    used = {name: own for name, own in moments.items() if own.count > 1}
    for name, own in used.items():
        layer = layers[name]
        for held, found in ((layer.running_mean, own.mean), (layer.running_var, own.variance)):
            held.copy_(torch.lerp(found.to(held), held, keep))
    return len(used)


class _Moments:
    """Count, mean and squared deviations of each channel, batch by batch (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: Tensor) -> None:
        """Rows (n, channels, ...)."""
        rows = x.detach().transpose(0, 1).flatten(1).double()
        count, mean = rows.shape[1], rows.mean(1)
        total, apart = self.count + count, mean - self.mean
        self.squares = self.squares + (rows - mean[:, None]).square().sum(1)
        self.squares = self.squares + apart.square() * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """Unbiased, as batch norm keeps it."""
        found: Tensor = self.squares / (self.count - 1)
        return found


@contextmanager
def by_the_batch(model: nn.Module, layers: Iterable[_BatchNorm]) -> Iterator[None]:
    """Eval mode, but these layers, frozen or not, normalise by the batch; their buffers rest."""
    chosen = list(layers)
    modes = {module: module.training for module in model.modules()}
    tracked = [layer.track_running_stats for layer in chosen]
    model.eval()
    for layer in chosen:
        # set and not called: `train` of a frozen layer is held (isthmus.fit.deep.freeze)
        layer.training, layer.track_running_stats = True, False
    try:
        yield
    finally:
        for layer, before in zip(chosen, tracked, strict=True):
            layer.track_running_stats = before
        for module, mode in modes.items():
            module.training = mode
