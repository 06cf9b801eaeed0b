"""TENT: at test time, scales and shifts of BN follow the entropy of predictions (Wang 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.align.bn_statistics import by_the_batch
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
        If the network has no batch normalisation with scales, or `steps` is below 1.
    """

    def __init__(
        self, model: nn.Module, *, lr: float = 1e-3, steps: int = 1, least: int = 2
    ) -> None:
        self.model, self.lr, self.steps, self.least = model, lr, steps, least
        if steps < 1:
            raise UsageError(f"steps={steps}", where="Tent", remedy="Give at least 1")
        self.norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        scaled = [m for m in self.norms if m.affine]
        if not scaled:
            raise UsageError(
                "the network has no batch normalisation with scales",
                where="Tent",
                remedy="Use T3A, which needs features only",
            )
        self.parameters = [p for layer in scaled for p in (layer.weight, layer.bias)]
        self._start = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits (n, k) of a target batch, from before its last step; the model learns from it."""
        if len(inputs) < self.least:
            with by_the_batch(self.model, ()), torch.no_grad():
                return self.model(inputs)  # type: ignore[no-any-return]
        with by_the_batch(self.model, self.norms), self._trainable():
            for _ in range(self.steps):
                with torch.enable_grad():
                    logits = self.model(inputs)
                    gradients = torch.autograd.grad(entropy(logits).mean(), self.parameters)
                for parameter, gradient in zip(self.parameters, gradients):
                    parameter.grad = gradient
                self.optimizer.step()
                self.optimizer.zero_grad()
        return logits.detach()  # type: ignore[no-any-return]

    @contextmanager
    def _trainable(self) -> Iterator[None]:
        """Scales and shifts take gradients, frozen or not, and nothing else does."""
        before = {p: p.requires_grad for p in self.model.parameters()}
        self.model.requires_grad_(False)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        try:
            yield
        finally:
            for parameter, needed in before.items():
                parameter.requires_grad_(needed)

    def reset(self) -> None:
        """Scales, shifts and the optimizer as they were at the start."""
        with torch.no_grad():
            for parameter, start in zip(self.parameters, self._start):
                parameter.copy_(start)
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.lr)
