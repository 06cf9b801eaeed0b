"""Layer 2: ``logmel:cnn``: a small convolutional network on log-mel spectrograms, not pretrained.

It is there to be trained (`isthmus finetune --on network`): recordings have no pretrained torch
network that comes with a package. 64 mel bands every 10 ms, four blocks of convolution, batch
norm, ReLU and pooling, mean and maximum over what is left: 256 features, 0.1 million weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from isthmus.backbone.hf_audio import LONGEST, HFAudioBackbone
from isthmus.backbone.hf_folder import fingerprint
from isthmus.backbone.image import reference as make_reference
from isthmus.backbone.weights import RANDOM
from isthmus.errors import BackboneError, UsageError
from isthmus.types import Array

CODE = 1
NAME = "cnn"
RATE, WINDOW, HOP, BANDS = 16_000, 400, 160, 64
CHANNELS = (16, 32, 64, 128)
SHORTEST = WINDOW + 15 * HOP  # 16 frames: what four halvings need


def load(
    name: str,
    *,
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    device: str | None = None,
) -> HFAudioBackbone:
    """The network with weights drawn by seed 0.

    Parameters
    ----------
    name : {"cnn"}
    weights : {"random"}
        There are no others.
    size : int, optional
        Longest clip in seconds.

    Raises
    ------
    BackboneError
        If other weights are asked for.
    UsageError
    """
    if name != NAME or layer is not None or pooling is not None:
        raise UsageError(f"logmel:{name} is not known", remedy=f"There is logmel:{NAME} as it is")
    if weights != RANDOM:
        raise BackboneError(
            f"logmel:{NAME} has no pretrained weights",
            why="as a feature extractor it would be a random one",
            remedy="Train it: isthmus finetune --on network; or use the default backbone",
        )
    from isthmus.backbone.export import frozen, torch_call
    from isthmus.backbone.runtime import Forward, compile_module, precision, resolve_device

    recipe: dict[str, Any] = {
        "kind": "audio",
        "rate": RATE,
        "normalise": True,
        "longest_s": LONGEST if size is None else size,
        "shortest": SHORTEST,
        "pooling": "meanmax",
    }
    place = resolve_device(device)
    mark = fingerprint(code=CODE, weights="random:0", recipe=recipe, precision=precision(place))

    def build() -> Any:
        from isthmus.backbone.logmel_network import LogMelCNN
        from isthmus.backbone.networks import seeded

        return seeded(LogMelCNN)

    def compiled(
        module: Callable[[], Any], key: str, length: int | None = None
    ) -> Callable[[Array], Array]:
        if length is None:  # drawn at random and looked at once: not worth an export
            return Forward(torch_call(frozen(module()), place), "torch")
        noise = np.random.default_rng(0).standard_normal((2, length)).astype(np.float32)
        return compile_module(module, noise, fingerprint=key, device=place, rows=1)

    return HFAudioBackbone(
        name=f"logmel:{NAME}",
        num_features=2 * CHANNELS[-1],
        recipe=recipe,
        fingerprint=mark,
        reference=make_reference(f"logmel:{NAME}", weights=RANDOM, size=size),
        licence="",
        open_network=lambda: compiled(build, mark),
        open_module=build,
        compiled=compiled,
    )
