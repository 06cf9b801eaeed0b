"""Layer 4: a trained network of dense layers as a value: NumPy arrays and the forward pass.

What a network on features is once it is trained: it serves, travels and is ejected without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erf, expit

from isthmus.errors import UsageError
from isthmus.types import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0, out=x),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "tanh": np.tanh,
    "silu": lambda x: x * expit(x),
    "sigmoid": expit,
}


@dataclass(frozen=True)
class Dense:
    """``f(... f((rows - centre) W_1 + b_1) ...) W_L + b_L``: scores of the classes.

    Parameters
    ----------
    centre : ndarray of shape (d,)
        Taken off before the first product, so that rows far from zero keep their digits. A scale
        of the columns is part of the first matrix.
    matrices : tuple of ndarray of shape (d, h_1), (h_1, h_2), ..., (h_L-1, K)
    offsets : tuple of ndarray of shape (h_1,), ..., (K,)
    activation : {"relu", "gelu", "tanh", "silu", "sigmoid"}
        The f of all hidden layers.

    Raises
    ------
    UsageError
        If the layers do not follow one another.
    """

    centre: Array
    matrices: tuple[Array, ...]
    offsets: tuple[Array, ...]
    activation: str = "relu"

    def __post_init__(self) -> None:
        layers = self.matrices, self.offsets
        fine = all(isinstance(part, tuple) and part for part in layers)
        fine = fine and len(self.matrices) == len(self.offsets)
        arrays = [self.centre, *layers[0], *layers[1]] if fine else [None]
        if fine := all(isinstance(array, np.ndarray) for array in arrays):
            width = self.centre.shape
            for matrix, offset in zip(*layers, strict=True):
                fine = fine and matrix.ndim == 2 and matrix.shape[:1] == width
                fine, width = fine and offset.shape == matrix.shape[1:], offset.shape
        if not fine:
            raise UsageError("the layers of a dense network do not follow one another")

    def __call__(self, rows: Any) -> Array:
        out = np.asarray(rows) - self.centre
        last = len(self.matrices) - 1
        for k, (matrix, offset) in enumerate(zip(self.matrices, self.offsets, strict=True)):
            out = out @ matrix
            out += offset
            if k < last:
                out = ACTIVATIONS[self.activation](out)
        return out
