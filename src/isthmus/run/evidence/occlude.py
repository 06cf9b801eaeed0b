"""Layer 8: variants of one raw item with one part hidden each: patches, words, moments, columns."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.types import Array

if TYPE_CHECKING:
    import pandas as pd

GRID = 7  # patches a side
PIXELS = 256  # longer side of the picture that is hidden in parts
MOST_WORDS = 40
RATE = 16_000  # Hz, as the clips
SECONDS = 6.0
MOMENTS, BANDS = 12, 4
FFT = 512
MOST_COLUMNS = 30


@dataclass(frozen=True)
class Hidden:
    """The item itself, then one variant a part.

    Parameters
    ----------
    items : list or DataFrame
        Raw items, the untouched one first.
    facts : dict
        What the parts are, JSON-ready.
    """

    items: Any
    facts: dict[str, Any] = field(default_factory=dict)


def hide_pixels(raw: Any, *, where: str = "") -> Hidden:
    """Patches of a 7 x 7 grid, each replaced by the picture's mean colour.

    Large pictures are reduced to 256 pixels first, so a patch means the same in all of them.
    """
    from PIL import Image

    from isthmus.data.images import decode

    picture = Image.fromarray(decode(raw, where=where))
    picture.thumbnail((PIXELS, PIXELS), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    mean = pixels.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    across = np.linspace(0, width, GRID + 1).astype(int)
    down = np.linspace(0, height, GRID + 1).astype(int)
    items = [pixels]
    for r in range(GRID):
        for c in range(GRID):
            variant = pixels.copy()
            variant[down[r] : down[r + 1], across[c] : across[c + 1]] = mean
            items.append(variant)
    return Hidden(items, {"grid": [GRID, GRID], "size": [width, height]})


def hide_words(text: str) -> Hidden:
    """Each word left out; of long texts runs of words, so that there are at most 40 parts."""
    words = text.split()
    parts = [list(p) for p in np.array_split(np.array(words, dtype=object), MOST_WORDS)]
    parts = [p for p in parts if p] if len(words) > MOST_WORDS else [[w] for w in words]
    named = [" ".join(p) for p in parts]
    items = [text]
    for k in range(len(named)):
        items.append(" ".join([*named[:k], *named[k + 1 :]]) or " ")
    return Hidden(items, {"words": named})


def hide_sound(raw: Any, *, where: str = "") -> Hidden:
    """Moments and bands of the short-time spectrum set to silence, a grid of 12 x 4.

    The facts hold the spectrogram in decibels below its peak (0..60 dB as 255..0), low
    frequencies first, for the picture.
    """
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    from isthmus.data.audio import decode

    wave = decode(raw, rate=RATE, where=where)[: int(SECONDS * RATE)].astype(np.float64)
    if len(wave) < FFT:
        wave = np.pad(wave, (0, FFT - len(wave)))
    tool = ShortTimeFFT(hann(FFT, sym=False), hop=FFT // 4, fs=RATE)
    S = tool.stft(wave)
    edges_t = np.linspace(0, S.shape[1], MOMENTS + 1).astype(int)
    # bands of equal width in mel: speech lives in the low ones
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 1)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    edges_f = np.round(hertz / (RATE / 2) * (S.shape[0] - 1)).astype(int)
    edges_f[-1] = S.shape[0]
    items: list[Any] = [_pcm(wave)]
    for b in range(BANDS):
        for m in range(MOMENTS):
            masked = S.copy()
            masked[edges_f[b] : edges_f[b + 1], edges_t[m] : edges_t[m + 1]] = 0
            items.append(_pcm(tool.istft(masked, k1=len(wave))))
    return Hidden(
        items,
        {
            "grid": [BANDS, MOMENTS],
            "seconds": round(len(wave) / RATE, 3),
            "hertz": [round(float(h)) for h in hertz],
            "spectrogram": _decibels(S).tolist(),
        },
    )


def _pcm(wave: Array) -> tuple[Array, int]:
    return np.clip(wave, -1, 1).astype(np.float32), RATE


def _decibels(S: Array) -> Array:
    """(48, <= 120) 0..255; frequencies on a mel scale as the grid is."""
    power = np.abs(S) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), 49)
    at = np.round(700 * (10 ** (mel / 2595) - 1) / (RATE / 2) * (len(power) - 1)).astype(int)
    rows = [power[a : max(b, a + 1)].mean(axis=0) for a, b in itertools.pairwise(at)]
    image = np.stack(rows)
    step = max(1, int(np.ceil(image.shape[1] / 120)))
    width = image.shape[1] // step * step
    image = image[:, :width].reshape(len(image), -1, step).mean(axis=2)
    level = 10 * np.log10(np.maximum(image, 1e-12) / max(float(image.max()), 1e-12))
    return np.clip(np.round((level + 60) / 60 * 255), 0, 255).astype(int)


def hide_columns(row: pd.DataFrame, reference: pd.DataFrame) -> Hidden:
    """Each column replaced by the usual value of the labelled rows (median, or most frequent)."""
    import pandas as pd

    names = [name for name in row.columns if name in reference.columns][:MOST_COLUMNS]
    variants, usual = [row], {}
    for name in names:
        column = reference[name].dropna()
        if not len(column):
            value: Any = None
        elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            value = column.quantile(0.5, interpolation="nearest")
        else:
            value = column.mode().iloc[0]
        variant = row.copy()
        variant[name] = pd.Series([value], index=row.index).astype(row[name].dtype)
        variants.append(variant)
        usual[name] = value
    return Hidden(
        pd.concat(variants, ignore_index=True),
        {
            "columns": [str(n) for n in names],
            "values": [_shown(row[n].iloc[0]) for n in names],
            "usual": [_shown(usual[n]) for n in names],
        },
    )


def _shown(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.6g}" if isinstance(value, (int, float, np.number)) else str(value)[:60]
