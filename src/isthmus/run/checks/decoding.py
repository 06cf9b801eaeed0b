"""Layer 8: ISX008, ISX009, ISX010, ISX021: does a custom backbone read files as it should?

Made-up files with a known content go through `preprocess`: all eight EXIF orientations of one
picture, a 16-bit version of it, half of a file, one tone at two sample rates.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

_TAG = 0x0112


def picture() -> Array:
    """(60, 90, 3) uint8: soft colours without any symmetry."""
    y, x = np.mgrid[0:60, 0:90]
    planes = [2.6 * x, 4 * y, 255 * ((x + 2 * y) / 210)]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def stored(upright: Array, orientation: int) -> Array:
    """The pixels as a camera stores them under an orientation tag."""
    pixels = upright
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)


def png(pixels: Array, orientation: int = 1) -> bytes:
    """PNG bytes, with an EXIF orientation."""
    from PIL import Image

    exif = Image.Exif()
    exif[_TAG] = orientation
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", exif=exif)
    return out.getvalue()


def find(view: ModelView) -> Iterable[Finding]:
    """Known content against what comes out."""
    if not view.custom or not view.by_items:
        return
    if view.modality == "image":
        yield from _pictures(view)
    elif view.modality == "audio":
        yield from _sounds(view)


def _pictures(view: ModelView) -> Iterable[Finding]:
    from PIL import Image

    upright = picture()
    base = _made(view, png(upright))
    if base is None:
        return
    turned = {o: _made(view, png(stored(upright, o), o)) for o in range(2, 9)}
    wrong = [o for o, made in turned.items() if _spread_gap(base, made) > 0.1]
    if wrong:
        yield view.found(
            "ISX008",
            "warning",
            "preprocess ignores the EXIF orientation of photos",
            f"a picture and its copies with orientation {', '.join(map(str, wrong))} differ",
            "Apply PIL.ImageOps.exif_transpose after opening",
        )
    grey = upright[..., 1]
    eight, sixteen = io.BytesIO(), io.BytesIO()
    Image.fromarray(grey).save(eight, "PNG")
    Image.fromarray(grey.astype(np.uint16) * 257).save(sixteen, "PNG")
    one = _made(view, eight.getvalue())
    if one is not None and _spread_gap(one, _made(view, sixteen.getvalue())) > 0.1:
        yield view.found(
            "ISX009",
            "warning",
            "preprocess loses the brightness of 16-bit pictures",
            "the same picture in 8 and in 16 bits differs",
            "Divide 16-bit values by 257 instead of converting them to mode L or RGB",
        )
    jpeg = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(jpeg, "JPEG")
    half = jpeg.getvalue()[: len(jpeg.getvalue()) // 2]
    if _made(view, half) is not None:
        yield view.found(
            "ISX010",
            "warning",
            "preprocess takes half a file for a whole one",
            "a JPEG cut in the middle was decoded; its lower half is grey",
            "Leave PIL.ImageFile.LOAD_TRUNCATED_IMAGES off and let the error through",
        )


def _sounds(view: ModelView) -> Iterable[Finding]:
    from scipy.io import wavfile

    def wav(rate: int) -> bytes:
        t = np.arange(rate) / rate
        tone = 0.4 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 1320 * t)
        out = io.BytesIO()
        wavfile.write(out, rate, (tone * 32767).astype(np.int16))
        return out.getvalue()

    low, high = _made(view, wav(8000)), _made(view, wav(16000))
    if low is None or high is None:
        return
    if low.shape != high.shape or _spread_gap(low, high) > 0.5:
        yield view.found(
            "ISX021",
            "warning",
            "preprocess ignores the sample rate of recordings",
            f"one second of the same tone at 8 and at 16 kHz gives {low.shape} and {high.shape}"
            + (" with other values" if low.shape == high.shape else ""),
            "Resample every recording to the rate of the network",
        )


def _made(view: ModelView, raw: bytes) -> Array | None:
    try:
        return np.asarray(view.backbone.preprocess(raw), dtype=np.float64)
    except Exception:  # a refusal is what a damaged file should get
        return None


def _spread_gap(one: Array, other: Array | None) -> float:
    """Mean difference in units of the first one's deviation; infinite where shapes differ."""
    if other is None:
        return 0.0
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).mean() / max(float(one.std()), 1e-9))
