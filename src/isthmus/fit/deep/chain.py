"""The dense layers of a network as one value, so that they are served without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from isthmus.adapt.dense import Dense
from isthmus.errors import UsageError
from isthmus.fit.deep.bodies import MLP, Standardised
from isthmus.fit.deep.surgery import ACTIVATIONS
from isthmus.types import Array

_SILENT = (nn.Identity, nn.Dropout, nn.AlphaDropout, nn.Flatten)
_BENDS = {name: kind for name, kind in ACTIVATIONS.items() if name != "none"}


def dense_of(parts: Iterable[nn.Module]) -> Dense:
    """What modules compute one after the other, in evaluation mode, on rows of features.

    Parameters
    ----------
    parts : modules
        Chains (`nn.Sequential`, `MLP`) of linear layers, batch norm, `Standardised` and one kind
        of activation; dropout and `nn.Flatten` do nothing to a row. What is affine is multiplied
        out into the linear layer beside it.

    Returns
    -------
    Dense
        Its last layer gives the scores.

    Raises
    ------
    UsageError
        If a layer has no such form; it is named.
    """
    folding = _Folding()
    for part in parts:
        for module in _leaves(part):
            folding.add(module)
    return folding.done()


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, MLP):
        module = module.dense
    if isinstance(module, nn.Sequential):
        for part in module:
            yield from _leaves(part)
    elif not isinstance(module, _SILENT):
        yield module


class _Folding:
    """``scale (x - centre) + shift`` waits for the next linear layer, or joins the last one."""

    def __init__(self) -> None:
        self.matrices: list[Array] = []
        self.offsets: list[Array] = []
        self.activation = ""
        self.bent = True  # nothing linear since the start, or since the last activation
        self.centre: Any = 0.0
        self.scale: Any = 1.0
        self.shift: Any = 0.0

    def add(self, module: nn.Module) -> None:
        name = next((n for n, kind in _BENDS.items() if isinstance(module, kind)), None)
        if isinstance(module, nn.Linear):
            self._linear(module)
        elif isinstance(module, Standardised):
            self._standardise(_array(module.mean), _array(module.scale))
        elif isinstance(module, nn.BatchNorm1d) and module.running_mean is not None:
            assert module.running_var is not None
            spread = np.sqrt(_array(module.running_var) + module.eps)
            self._standardise(_array(module.running_mean), spread)
            if module.affine:
                self._affine(_array(module.weight), _array(module.bias))
        elif name is not None and not self.bent and self.activation in ("", name):
            if name == "gelu" and getattr(module, "approximate", "none") != "none":
                raise _cannot(module)
            self.activation, self.bent = name, True
        else:
            raise _cannot(module)

    def _linear(self, module: nn.Linear) -> None:
        matrix = _array(module.weight).T
        offset = np.zeros(module.out_features) if module.bias is None else _array(module.bias)
        if not self.bent:  # two linear layers in a row are one
            self.offsets[-1] = self.offsets[-1] @ matrix + offset
            self.matrices[-1] = self.matrices[-1] @ matrix
            return
        scale = np.broadcast_to(self.scale, len(matrix))
        shift = np.broadcast_to(self.shift, len(matrix))
        self.matrices.append(scale[:, None] * matrix)
        self.offsets.append(shift @ matrix + offset)
        self.scale, self.shift, self.bent = 1.0, 0.0, False

    def _standardise(self, mean: Array, spread: Array) -> None:
        fresh = np.ndim(self.scale) == 0 and np.ndim(self.centre) == 0
        if self.bent and not self.matrices and fresh:
            # kept apart from the product: columns far from zero keep their digits
            self.centre, self.scale = mean, 1 / spread
        else:
            self._affine(1 / spread, -mean / spread)

    def _affine(self, weight: Array, bias: Array) -> None:
        if self.bent:
            self.scale, self.shift = self.scale * weight, self.shift * weight + bias
        else:
            self.matrices[-1] = self.matrices[-1] * weight
            self.offsets[-1] = self.offsets[-1] * weight + bias

    def done(self) -> Dense:
        if not self.matrices or self.bent:
            raise UsageError("a network that is served must end in a linear layer")
        centre = np.broadcast_to(self.centre, len(self.matrices[0]))
        return Dense(
            np.array(centre, dtype=np.float64),
            tuple(np.ascontiguousarray(m, dtype=np.float32) for m in self.matrices),
            tuple(np.asarray(o, dtype=np.float32) for o in self.offsets),
            self.activation or "relu",
        )


def _cannot(module: nn.Module) -> UsageError:
    return UsageError(
        f"a {type(module).__name__} has no plain form here, so this network cannot be served",
        remedy="Use linear layers, batch norm, dropout and one kind of activation after the body",
    )


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy().astype(np.float64)


def state_arrays(module: nn.Module) -> dict[str, Array]:
    """All tensors of a module on the host, as arrays."""
    return {
        name: np.array(tensor.detach().cpu().numpy())
        for name, tensor in module.state_dict().items()
    }
