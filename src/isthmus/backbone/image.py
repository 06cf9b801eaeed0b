"""Layer 2: images -> features with any torch network: what timm, torchvision, Keras and own
modules share. The recipe prepares 8-bit pixels; scaling is the first operation of the network.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import iofs
from isthmus.backbone import recipes
from isthmus.backbone.runtime import (
    Forward,
    compile_module,
    precision,
    recorded_width,
    resolve_device,
)
from isthmus.errors import BackboneError
from isthmus.types import Array, Modality

if TYPE_CHECKING:
    from torch import nn

    from isthmus.backbone.prebuilt import Prebuilt

log = logging.getLogger(__name__)

CODE_VERSION = 1  # raise it whenever the same weights would give other features
BATCH = 32  # on a CPU images are computed one by one anyway; see `runtime.by_rows`
BATCH_GPU = 64


def fingerprint(
    *,
    family: str,
    weights: str,
    recipe: recipes.Recipe,
    layer: str | None,
    pooling: str | None,
    device: str,
) -> str:
    """SHA-256 of everything that decides the features.

    Parameters
    ----------
    family : str
        Library and architecture, e.g. ``timm:resnet50``.
    weights : str
        SHA-256 of the weights.
    device : str
        Only its arithmetic counts: features of a GPU are rounded differently.
    """
    parts = {
        "family": family,
        "weights": weights,
        "recipe": recipe,
        "layer": layer,
        "pooling": pooling,
        "arithmetic": precision(device),
        "code": CODE_VERSION,
    }
    return iofs.sha256_bytes(iofs.canonical_json(parts))


@dataclass
class ImageBackbone:
    """A `Backbone` for images; made by `isthmus.backbone.load_backbone`.

    Parameters
    ----------
    build : callable
        Returns the network: (n, 3, h, w) float32, normalised -> (n, num_features). Called once,
        and not at all where its ONNX file is cached.
    licence : str or None
        Licence of the weights, where known.
    weights_digest : str
        SHA-256 of the weights.
    prebuilt : Prebuilt, optional
        The network without torch, for the default.
    plain : bool
        Whether the network does the same to every input, so that it may be traced.

    Notes
    -----
    The other fields are those of `isthmus.backbone.base.Backbone`.
    """

    name: str
    num_features: int
    recipe: recipes.Recipe
    fingerprint: str
    reference: dict[str, Any]
    build: Callable[[], nn.Module] = field(repr=False)
    device: str = "cpu"
    licence: str | None = None
    weights_digest: str = ""
    modality: Modality = "image"
    batch_size: int = 0
    prebuilt: Prebuilt | None = field(default=None, repr=False)
    plain: bool = False

    def __post_init__(self) -> None:
        recipes.check(self.recipe)
        self._lock = threading.Lock()
        if not self.batch_size:
            self.batch_size = BATCH if self.device == "cpu" else BATCH_GPU

    @cached_property
    def _forward(self) -> Forward:
        def build() -> nn.Module:
            from isthmus.backbone.networks import Normalised

            return Normalised(self.build(), self.recipe)

        return compile_module(
            build,
            probe(recipes.output_size(self.recipe)),
            fingerprint=self.fingerprint,
            device=self.device,
            rows=1,
            prebuilt=self.prebuilt,
            plain=self.plain,
        )

    @property
    def engine(self) -> str:
        """What runs the network: ``onnxruntime``, ``torch`` or ``torch-cuda``; compiles it."""
        with self._lock:
            return self._forward.engine

    @property
    def one_by_one(self) -> bool:
        """Whether each image is computed alone, on one core, so that threads can take one each."""
        return self.device == "cpu" and self.engine == "onnxruntime"

    def preprocess(self, raw: Any) -> Array:
        """Bytes of an image file, or pixels -> (h, w, 3) uint8 by the recipe.

        Raises
        ------
        DataError
            If it is no image, is damaged, or too large.
        """
        from isthmus.data.images import decode

        return recipes.prepare(decode(raw), self.recipe)

    def __call__(self, batch: Array) -> Array:
        """(n, h, w, 3) uint8 -> (n, num_features) float32.

        Raises
        ------
        BackboneError
            If the batch is not what `preprocess` makes: floats of an unknown range are refused.
        """
        expected = (*recipes.output_size(self.recipe), 3)
        if batch.dtype != np.uint8 or batch.shape[1:] != expected:
            raise BackboneError(
                f"expected 8-bit pixels of shape (n, {', '.join(map(str, expected))}), "
                f"got {batch.dtype} {batch.shape}",
                where=self.name,
                remedy="Pass what preprocess() returns",
            )
        if not len(batch):
            return np.empty((0, self.num_features), np.float32)
        with self._lock:
            forward = self._forward
        features = forward(batch)
        if features.shape != (len(batch), self.num_features):
            raise BackboneError(
                f"the network gave {features.shape} for ({len(batch)}, {self.num_features})",
                where=self.name,
                remedy="Choose a --pooling that gives one row an image: avg, max or flatten",
            )
        return features


def make(
    build: Callable[[], nn.Module],
    *,
    name: str,
    family: str,
    weights: str,
    recipe: recipes.Recipe,
    layer: str | None,
    pooling: str | None,
    device: str | None,
    reference: dict[str, Any],
    licence: str | None = None,
    width: int | None = None,
    prebuilt: Prebuilt | None = None,
    plain: bool = False,
) -> ImageBackbone:
    """An `ImageBackbone`, with its network built and checked now unless that was done before.

    Parameters
    ----------
    build : callable
        Reads the weights and returns the network; raises `BackboneError` if they do not fit.
    weights : str
        Their SHA-256.
    width : int, optional
        Number of features where it is known beforehand; then nothing is built here.
    prebuilt, plain
        See `isthmus.backbone.runtime.compile_module`.
    """
    place = resolve_device(device)
    if place != "cpu":
        log.info("features are computed on %s", place)
    mark = fingerprint(
        family=family, weights=weights, recipe=recipe, layer=layer, pooling=pooling, device=place
    )
    built: list[nn.Module] = []
    if width is None:
        width = recorded_width(mark) if place == "cpu" else None
    if width is None:
        from isthmus.backbone import networks

        built.append(build())
        width = networks.width(built[0], recipes.output_size(recipe))
    return ImageBackbone(
        name=name,
        num_features=width,
        recipe=recipe,
        fingerprint=mark,
        reference=reference,
        build=lambda: built.pop() if built else build(),
        device=place,
        licence=licence,
        weights_digest=weights,
        prebuilt=prebuilt,
        plain=plain,
    )


def reference(spec: str, **options: Any) -> dict[str, Any]:
    """JSON arguments for `load_backbone`: only those that were set.

    The device is not among them: a saved model must run where the same device is missing.
    """
    return {"spec": spec} | {k: v for k, v in options.items() if v not in (None, False)}


def probe(size: recipes.Size) -> Array:
    """Two pictures with the make-up of photos, for the parity check: soft shapes, edges, grain.

    Returns
    -------
    ndarray
        (2, h, w, 3) uint8, always the same.
    """
    height, width = size
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    made = []
    for _ in range(2):
        planes = []
        for _ in range(3):
            a, b, c, d = rng.uniform(1, 9, 4)
            soft = np.sin(a * x + b * y) + np.cos(c * x - d * y)
            edge = ((x - rng.random()) ** 2 + (y - rng.random()) ** 2 < 0.08) * rng.uniform(-2, 2)
            planes.append(soft + edge + rng.normal(0, 0.1, (height, width)))
        picture = np.stack(planes, axis=-1)
        low, high = picture.min(), picture.max()
        made.append(np.round(255 * (picture - low) / (high - low)).astype(np.uint8))
    return np.stack(made)
