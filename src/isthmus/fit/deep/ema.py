"""An exponential moving average of a network's weights (Polyak and Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.fit.deep.surgery import copies, state_of

STATISTICS = ("running_mean", "running_var")


class MovingAverage:
    """``average = decay * average + (1 - decay) * weights`` after every step.

    Parameters
    ----------
    network : nn.Module
    decay : float
        In the first steps it is at most ``(1 + t) / (10 + t)``, so that the start is forgotten.

    Notes
    -----
    Statistics of normalisation are averaged alike; counters, other buffers (masks, tables of
    positions) and what a module keeps beside tensors are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self._own = state_of(network)
        weights = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        self._averaged = {
            name
            for name, value in self._own.items()
            if isinstance(value, Tensor)
            and (value.is_floating_point() or value.is_complex())
            and (name in weights or name.endswith(STATISTICS))
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step` (0, 1, ...)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        current = self.network.state_dict()
        mine, theirs = [], []
        for name, average in self._own.items():
            if name in self._averaged:
                mine.append(average)
                theirs.append(current[name])
            elif _fits(average, current[name]):
                average.copy_(current[name])
            else:
                self._own |= copies({name: current[name]})
        torch._foreach_lerp_(mine, theirs, weight)

    def state(self) -> dict[str, Any]:
        """The averaged tensors by name, and what was copied."""
        return self._own

    def restore(self, tensors: Mapping[str, Any]) -> None:
        """Take them back from a checkpoint."""
        for name, average in self._own.items():
            if _fits(average, tensors[name]):
                average.copy_(tensors[name])
            else:
                self._own |= copies({name: tensors[name]})

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network holds the average inside, its own weights again afterwards."""
        kept = state_of(self.network)
        self.network.load_state_dict(self._own)
        try:
            yield
        finally:
            self.network.load_state_dict(kept)


def _fits(old: Any, new: Any) -> bool:
    """Whether the values of one tensor can be written over another's."""
    both = isinstance(old, Tensor) and isinstance(new, Tensor)
    return both and old.shape == new.shape and old.dtype == new.dtype and not old.is_quantized
