"""Layer 8: ISX001: nearly the same item in training and test: saved anew, cut, louder, retyped.

Features propose pairs (cosine), the items themselves decide: thumbnails of pictures, waveforms of
recordings, words of texts, cells of tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from isthmus.data.checks.duplicates import shared_finding
from isthmus.data.checks.finding import Finding
from isthmus.data.samples import FrameItems, Samples
from isthmus.errors import IsthmusError
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True  # needs features
LOOKED = 200  # pairs that are compared item by item, the most alike first
# another JPEG quality moves features far (cosine 0.6 and more), so pictures are proposed freely
ALIKE = {"image": 0.5, "audio": 0.97, "text": 0.9, "table": 0.97, "features": 0.9995}
_WIDTH = 128
_WORD = re.compile(r"\w+")


def find(view: ModelView) -> Iterable[Finding]:
    """Confirmed pairs between training rows and scored rows."""
    scored = view.scored()
    if scored is None or not view.raw.apart:
        return
    role, part = scored
    for mine, trained in view.training():
        if overlapping(view, mine):
            continue  # an overlap by id has its own finding
        pairs = near_pairs(
            trained.X, trained.samples, part.X, part.samples, view.modality, columns=view.columns
        )
        if pairs:
            yield shared_finding(
                [(a, b) for a, b, _ in pairs],
                mine,
                trained.samples,
                role,
                part.samples,
                "nearly equal content",
            )


def overlapping(view: ModelView, role: str) -> bool:
    """Whether rows of a training part are scored rows."""
    return any(bool(view.raw.overlap(part)) for name, part in view.raw.training if name == role)


def near_pairs(
    X: Array,
    one: Samples,
    Z: Array,
    other: Samples,
    modality: str,
    *,
    columns: bool = False,
    itself: bool = False,
) -> list[tuple[int, int, float]]:
    """(row of `one`, row of `other`, likeness) of confirmed near duplicates.

    Parameters
    ----------
    X, Z : ndarray of shape (n, d), (m, d)
        Features of both.
    columns : bool
        Whether to standardise the columns first (tables, plain features).
    itself : bool
        Whether both are the same rows: then each pair is found once.
    """
    found, missed = [], 0
    for a, b, alike in proposals(X, Z, columns=columns, itself=itself):
        # once many in a row were none, the rest, which is less alike, will not be either
        if alike < ALIKE[modality] or missed >= LOOKED:
            break
        likeness = confirm(one, a, other, b, modality)
        missed = 0 if likeness else missed + 1
        if likeness:
            found.append((a, b, likeness))
    return found


def proposals(
    X: Array, Z: Array, *, columns: bool = False, itself: bool = False
) -> list[tuple[int, int, float]]:
    """Nearest row of `X` for each row of `Z`, most alike first; at most 10 * `LOOKED`."""
    A, B = np.asarray(X, dtype=np.float32), np.asarray(Z, dtype=np.float32)
    mean = A.mean(axis=0)
    spread = np.maximum(A.std(axis=0), 1e-6) if columns else np.float32(1)
    A, B = (A - mean) / spread, (B - mean) / spread
    if A.shape[1] > 2 * _WIDTH and len(A) * len(B) > 4_000_000:
        # Johnson-Lindenstrauss: near duplicates stay near, at a tenth of the cost
        draw = np.random.default_rng(0).normal(size=(A.shape[1], _WIDTH)).astype(np.float32)
        A, B = A @ draw, B @ draw
    A /= np.maximum(np.linalg.norm(A, axis=1, keepdims=True), 1e-9)
    B /= np.maximum(np.linalg.norm(B, axis=1, keepdims=True), 1e-9)
    rows, values = np.empty(len(B), dtype=int), np.empty(len(B), dtype=np.float32)
    for first in range(0, len(B), 2048):
        block = B[first : first + 2048] @ A.T
        if itself:
            here = np.arange(first, first + len(block))
            # only rows before it, so that each pair is found once
            block[np.arange(len(A))[None] >= here[:, None]] = -2
        rows[first : first + len(block)] = block.argmax(axis=1)
        values[first : first + len(block)] = block.max(axis=1)
    order = np.argsort(-values, kind="stable")[: 10 * LOOKED]
    return [(int(rows[b]), int(b), float(values[b])) for b in order]


def confirm(one: Samples, a: int, other: Samples, b: int, modality: str) -> float:
    """Likeness in 0..1 of two items if they are nearly the same, else 0."""
    try:
        if modality == "table":
            return _cells(one, a, other, b)
        x, z = one.items[a], other.items[b]
        if modality == "image":
            return _thumbnails(x, z)
        if modality == "audio":
            return _waves(x, z)
        if modality == "text":
            return _words(str(x), str(z))
        return _rows(np.asarray(x, dtype=float).ravel(), np.asarray(z, dtype=float).ravel())
    except (IsthmusError, OSError, ValueError):
        return 0.0


def thumbnail(raw: Any, side: int = 32) -> Array:
    """(side, side) grey values of a picture, squeezed."""
    from PIL import Image

    from isthmus.data.images import decode

    picture = Image.fromarray(decode(raw)).convert("L")
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=float)


def _thumbnails(x: Any, z: Any) -> float:
    one, other = thumbnail(x), thumbnail(z)
    if one.std() < 2 or other.std() < 2:  # blank pictures are alike without being copies
        return 0.0
    # another JPEG of the same photo correlates to 0.999; two shots of a burst stay below 0.99
    alike = float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    return alike if alike > 0.996 else 0.0


def _waves(x: Any, z: Any) -> float:
    from isthmus.data.audio import decode

    one, other = (np.asarray(decode(raw, rate=8000), dtype=float) for raw in (x, z))
    if abs(len(one) - len(other)) > 0.02 * max(len(one), len(other)):
        return 0.0
    n = min(len(one), len(other))
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    cross = np.fft.irfft(np.fft.rfft(one[:n], size) * np.conj(np.fft.rfft(other[:n], size)))
    norm = np.linalg.norm(one[:n]) * np.linalg.norm(other[:n])
    alike = float(np.abs(cross).max() / max(norm, 1e-12))
    return alike if alike > 0.95 else 0.0


def _words(x: str, z: str) -> float:
    one, other = (_WORD.findall(text.casefold()) for text in (x, z))
    if min(len(one), len(other)) < 5:
        return 0.0
    a, b = set(one), set(other)
    alike = len(a & b) / len(a | b)
    return alike if alike >= 0.85 else 0.0


def _cells(one: Samples, a: int, other: Samples, b: int) -> float:
    assert isinstance(one.items, FrameItems) and isinstance(other.items, FrameItems)
    x, z = one.items.frame.iloc[a], other.items.frame.iloc[b]
    if len(x) < 6:
        return 0.0
    same = 0
    for name in x.index:
        u, v = x[name], z.get(name)
        if u is v or u == v:
            same += 1
        elif isinstance(u, float) and isinstance(v, float):
            same += bool(np.isclose(u, v, rtol=1e-3, equal_nan=True))
    return 1.0 if same == len(x) and int(x.notna().sum()) > len(x) / 2 else 0.0


def _rows(x: Array, z: Array) -> float:
    if x.shape != z.shape:
        return 0.0
    largest = max(float(np.linalg.norm(x)), float(np.linalg.norm(z)), 1e-12)
    gap = float(np.linalg.norm(x - z)) / largest
    return float(1 - gap) if gap < 0.02 else 0.0
