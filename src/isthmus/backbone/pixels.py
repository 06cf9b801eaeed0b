"""Layer 2: ``pixels:SIZE``: a picture's grey values as they are, no pretrained network.

What a dense network of the textbooks takes: SIZE x SIZE grey values from 0 (black) to 1, row after
row. ``pixels:28`` gives the 784 numbers of MNIST's networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.backbone import recipes
from isthmus.errors import UsageError
from isthmus.types import Array, Modality

CODE = 1


@dataclass
class PixelBackbone:
    """Pictures -> grey values in 0 ... 1.

    Parameters
    ----------
    side : int
        Of the square that every picture is resized to, in pixels.
    """

    side: int
    modality: Modality = "image"
    batch_size: int = 1024
    worth_storing: bool = False

    @property
    def name(self) -> str:
        return f"pixels:{self.side}"

    @property
    def num_features(self) -> int:
        return self.side**2

    @cached_property
    def recipe(self) -> dict[str, Any]:
        step = {"op": "resize", "size": [self.side, self.side], "interpolation": "bilinear"}
        return recipes.recipe([step])

    @property
    def fingerprint(self) -> str:
        return iofs.sha256_bytes(iofs.canonical_json(["pixels", CODE, self.recipe]))

    @property
    def reference(self) -> dict[str, Any]:
        return {"spec": self.name}

    def preprocess(self, raw: Any) -> Array:
        """Bytes of an image file, or pixels -> (side, side, 3) uint8.

        Raises
        ------
        DataError
            If it is no image, is damaged, or too large.
        """
        from isthmus.data.images import decode

        return recipes.prepare(decode(raw), self.recipe)

    def __call__(self, batch: Array) -> Array:
        """(n, side, side, 3) uint8 -> (n, side * side) float32, luma by ITU-R 601."""
        grey = batch.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return np.ascontiguousarray(grey.reshape(len(batch), -1) / 255)


def load(name: str, **options: Any) -> PixelBackbone:
    """``pixels:28``.

    Raises
    ------
    UsageError
        If the size is missing, or an option is given that only a network has.
    """
    given = [k for k, v in options.items() if v not in (None, False) and k != "device"]
    if given:
        raise UsageError(f"{', '.join(given)} does not apply to plain pixels")
    if not name.isdigit() or not 1 <= int(name) <= 1024:
        raise UsageError(f"pixels:{name} is not a size", remedy="Write pixels:28, for example")
    return PixelBackbone(int(name))
