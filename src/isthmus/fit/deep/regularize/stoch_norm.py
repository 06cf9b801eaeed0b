"""StochNorm: channels normalise by running or by batch statistics, at random (Kou et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.errors import UsageError


class StochNorm(nn.Module):
    """A batch-normalisation layer with two branches in training; in eval mode it is plain BN.

    Each channel uses its running statistics with probability `p` and those of the batch
    otherwise, so that the pretrained statistics take part in fine-tuning: ``z = (1 - s) z_batch +
    s z_running, s ~ Bernoulli(p)`` (Kou, You, Long and Wang, *Stochastic normalization*, NeurIPS
    2020, eq. 4-5).

    Parameters
    ----------
    layer : nn.BatchNorm1d, 2d or 3d
        Whose parameters and statistics are taken over, under the same names in `state_dict`.
    p : float, default=0.5
        The paper's. 0 is batch normalisation.

    Raises
    ------
    UsageError
        If the layer keeps no running statistics, or `p` is no probability.

    Notes
    -----
    One value a channel (a batch of one row of features) has no spread: it is normalised by the
    running statistics, which stay as they are.
    """

    def __init__(self, layer: _BatchNorm, *, p: float = 0.5) -> None:
        super().__init__()
        if layer.running_mean is None:
            raise UsageError("the layer keeps no running statistics", where="StochNorm")
        if not 0 <= p <= 1:
            raise UsageError(f"p={p} is no probability", where="StochNorm")
        self.p, self.eps, self.num_features = p, layer.eps, layer.num_features
        self.momentum = layer.momentum
        self.weight, self.bias = layer.weight, layer.bias
        for name, value in layer.named_buffers():
            self.register_buffer(name, value)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, ...) normalised."""
        mean, var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if not self.training:
            return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        # before the statistics take in this batch; buffers, so no gradient passes through them
        running = F.batch_norm(x, mean.clone(), var.clone(), None, None, False, 0.0, self.eps)
        shape = (1, -1, *[1] * (x.ndim - 2))
        chosen = torch.rand(x.shape[1], device=x.device) < self.p
        z = running
        if x.numel() > x.shape[1]:
            self.get_buffer("num_batches_tracked").add_(1)
            momentum = self.momentum
            if momentum is None:  # torch: the mean over all batches
                momentum = 1 / float(self.get_buffer("num_batches_tracked"))
            batch = F.batch_norm(x, mean, var, None, None, True, momentum, self.eps)
            z = torch.where(chosen.view(shape), running, batch)
        if self.weight is not None:
            z = z * self.weight.view(shape)
        return z if self.bias is None else z + self.bias.view(shape)


def swap_stoch_norm(model: nn.Module, *, p: float = 0.5) -> nn.Module:
    """Every BN layer of `model` becomes a `StochNorm`, in place; the model is returned.

    Raises
    ------
    UsageError
        If there is no BN layer with running statistics.
    """
    found = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    if not found:
        raise UsageError("the network has no batch normalisation", where="swap_stoch_norm")
    if "" in found:
        return StochNorm(found[""], p=p)
    made = {id(module): StochNorm(module, p=p) for module in found.values()}
    for name, module in found.items():  # a layer that stands twice is one layer again
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, made[id(module)])
    return model
