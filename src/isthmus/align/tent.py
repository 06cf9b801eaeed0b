"""TENT: at test time, scales and shifts of BN follow the entropy of predictions (Wang 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.align.views import entropy
from isthmus.errors import UsageError


class Tent:
    """Test entropy minimisation: each target batch is predicted, then learned from.

    Batch normalisation uses the statistics of the batch at hand, and its scales and shifts take
    one gradient step on ``mean H(softmax(logits))``; nothing else moves (Wang, Shelhamer, Liu,
    Olshausen and Darrell, *Tent: fully test-time adaptation by entropy minimization*, ICLR 2021,
    algorithm 1).

    Parameters
    ----------
    model : nn.Module
        Inputs -> logits (n, k). It is changed in place; `reset` brings back what it was.
    lr : float, default=1e-3
        Of Adam (the paper's for small images; 2.5e-4 for large ones).
    steps : int, default=1
        Gradient steps a batch.
    least : int, default=2
        Smaller batches are predicted without a step and by the source's statistics: one row
        has no spread.

    Notes
    -----
    Batches must be mixed: a stream sorted by class, or tiny batches, drives all predictions into
    one class.

    Raises
    ------
    UsageError
        If the network has no batch normalisation with scales.
    """

    def __init__(
        self, model: nn.Module, *, lr: float = 1e-3, steps: int = 1, least: int = 2
    ) -> None:
        self.model, self.lr, self.steps, self.least = model, lr, steps, least
        self.layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.affine]
        if not self.layers:
            raise UsageError(
                "the network has no batch normalisation with scales",
                where="Tent",
                remedy="Use T3A, which needs features only",
            )
        self.parameters = [p for layer in self.layers for p in (layer.weight, layer.bias)]
        self._start = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits (n, k) of a target batch, from before its last step; the model learns from it."""
        small = len(inputs) < self.least
        with _Adapting(self.model, self.layers, small):
            if small:
                with torch.no_grad():
                    return self.model(inputs)  # type: ignore[no-any-return]
            for _ in range(self.steps):
                with torch.enable_grad():
                    logits = self.model(inputs)
                    gradients = torch.autograd.grad(entropy(logits).mean(), self.parameters)
                for parameter, gradient in zip(self.parameters, gradients):
                    parameter.grad = gradient
                self.optimizer.step()
                self.optimizer.zero_grad()
        return logits.detach()  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Scales, shifts and the optimizer as they were at the start."""
        with torch.no_grad():
            for parameter, start in zip(self.parameters, self._start):
                parameter.copy_(start)
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.lr)


class _Adapting:
    """Eval mode, but BN by the batch, its affine parameters trainable and its buffers at rest."""

    def __init__(self, model: nn.Module, layers: list[_BatchNorm], small: bool) -> None:
        self.model, self.layers, self.small = model, layers, small

    def __enter__(self) -> None:
        self.modes = {module: module.training for module in self.model.modules()}
        self.grads = {p: p.requires_grad for p in self.model.parameters()}
        self.tracked = [layer.track_running_stats for layer in self.layers]
        self.model.eval()
        self.model.requires_grad_(False)
        for layer in self.layers:
            if not self.small:
                # training mode without tracking: the batch's statistics, the buffers untouched
                layer.train()
                layer.track_running_stats = False
                layer.requires_grad_(True)

    def __exit__(self, *_: object) -> None:
        for layer, tracked in zip(self.layers, self.tracked):
            layer.track_running_stats = tracked
        for module, mode in self.modes.items():
            module.training = mode
        for parameter, needed in self.grads.items():
            parameter.requires_grad_(needed)
