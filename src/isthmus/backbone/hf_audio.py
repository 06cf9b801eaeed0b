"""Layer 2: Hugging Face encoders of raw waveforms: wav2vec 2.0, HuBERT, WavLM and their kin.

A clip is run alone and never padded: the base models normalise over time (GroupNorm) and were
trained without a mask, so padding would change their features.
Baevski et al., "wav2vec 2.0", NeurIPS 2020; Hsu et al., "HuBERT", TASLP 2021.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from isthmus.backbone.hf_folder import ModelFolder, fingerprint, width
from isthmus.errors import BackboneError, UsageError
from isthmus.types import Array, Modality

CODE = 1
LONGEST = 30  # seconds; attention grows with the square of the length
_WIDTHS = ("hidden_size", "d_model")


def receptive_field(kernels: list[int], strides: list[int]) -> int:
    """Samples that the first output frame of a stack of convolutions sees.

    >>> receptive_field([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2])  # wav2vec 2.0: 25 ms
    400
    """
    field = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        field = (field - 1) * stride + kernel
    return field


@dataclass
class HFAudioBackbone:
    """Recordings -> features; made by `isthmus.backbone.load_backbone`.

    `open_module` gives the torch network itself; ``compiled(build, fingerprint)`` what such a
    network computes.

    Attributes
    ----------
    truncated : int
        Clips cut at the longest length so far (each call of `preprocess` counts).
    """

    name: str
    num_features: int
    recipe: dict[str, Any]
    fingerprint: str
    reference: dict[str, Any]
    licence: str
    open_network: Callable[[], Callable[[Array], Array]]
    batch_size: int = 1
    modality: Modality = "audio"
    open_module: Callable[[], Any] | None = field(default=None, repr=False)
    compiled: Callable[..., Callable[[Array], Array]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.truncated = 0

    @cached_property
    def _network(self) -> Callable[[Array], Array]:
        return self.open_network()

    def preprocess(self, raw: Any) -> Array:
        """(n,) float32 at the model's rate: mono, normalised over the clip where the model asks.

        A clip shorter than one frame's receptive field is filled up with silence at its end.
        """
        from isthmus.data.audio import decode

        wave = decode(raw, rate=self.recipe["rate"])
        longest = self.recipe["rate"] * self.recipe["longest_s"]
        if len(wave) > longest:
            with self._lock:
                self.truncated += 1
            wave = wave[:longest]
        if self.recipe["normalise"]:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        short = self.recipe["shortest"] - len(wave)
        if short > 0:
            wave = np.concatenate([wave, np.zeros(short, wave.dtype)])
        return np.ascontiguousarray(wave, dtype=np.float32)

    def __call__(self, batch: Array) -> Array:
        """(1, n) -> (1, num_features) float32."""
        with self._lock:
            network = self._network
        features = np.concatenate([network(batch[i : i + 1]) for i in range(len(batch))])
        if features.shape != (len(batch), self.num_features):
            raise BackboneError(
                f"the network gave {features.shape[1:]} features, config.json says "
                f"{self.num_features}",
                where=self.name,
            )
        return features


def audio_backbone(
    folder: ModelFolder,
    processor: dict[str, Any],
    *,
    name: str,
    reference: dict[str, Any],
    random: bool,
    layer: int | None,
    pooling: str | None,
    size: int | None,
    device: str | None,
) -> HFAudioBackbone:
    """See `isthmus.backbone.transformers.load`."""
    from isthmus.backbone.runtime import compile_module, precision, resolve_device
    from isthmus.backbone.transformers import weights_digest

    config = folder.config
    kernels, strides = config.get("conv_kernel"), config.get("conv_stride")
    if not kernels or not strides:
        raise BackboneError(
            f"{config['model_type']} does not take a raw waveform",
            where=str(folder.path),
            why="config.json names no conv_kernel",
            remedy="Use wav2vec2, HuBERT, WavLM, data2vec-audio or UniSpeech",
        )
    if pooling == "cls":
        raise UsageError("recordings have no class token", remedy="Use mean or max")
    rate = processor.get("sampling_rate")
    if not isinstance(rate, int) or rate <= 0:
        raise BackboneError(
            "the preprocessor does not name its sampling rate",
            where=str(folder.path / "preprocessor_config.json"),
        )
    field = receptive_field(kernels, strides)
    recipe: dict[str, Any] = {
        "kind": "audio",
        "rate": rate,
        "normalise": bool(processor.get("do_normalize", True)),
        "longest_s": LONGEST if size is None else size,
        # two frames, so that the statistics over time exist
        "shortest": field + int(np.prod(strides)),
        "pooling": pooling or "mean",
    }
    resolved = resolve_device(device)
    mark = fingerprint(
        code=CODE,
        weights=weights_digest(folder, random=random),
        recipe=recipe,
        layer=layer,
        precision=precision(resolved),
    )

    def build() -> Any:
        from isthmus.backbone import hf_modules

        attention = "eager" if resolved == "cpu" else "sdpa"
        model = hf_modules.load_model(folder, random=random, attention=attention)
        return hf_modules.AudioEncoder(model, layer=layer, pooling=recipe["pooling"])

    def compiled(
        module: Callable[[], Any], key: str, length: int | None = None
    ) -> Callable[[Array], Array]:
        noise = np.random.default_rng(0)
        if length is not None:
            fixed = noise.standard_normal((2, length)).astype(np.float32)
            return compile_module(module, fixed, fingerprint=key, device=resolved, rows=1)
        shortest = max(int(recipe["shortest"]), rate // 4)
        first, *checks = (
            noise.standard_normal((1, n)).astype(np.float32)
            for n in (rate, shortest, 2 * rate + 123)
        )
        return compile_module(
            module,
            first,
            fingerprint=key,
            device=resolved,
            dynamic={1: "samples"},
            checks=checks,
        )

    return HFAudioBackbone(
        name=name,
        num_features=width(config, *_WIDTHS),
        recipe=recipe,
        fingerprint=mark,
        reference=reference,
        licence=folder.licence,
        open_network=lambda: compiled(build, mark),
        open_module=build,
        compiled=compiled,
    )
