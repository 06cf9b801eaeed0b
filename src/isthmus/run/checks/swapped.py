"""Layer 8: ISX006 and ISX008: target pictures that resemble the source only once they are turned.

A handful of target pictures is shown to the network as they are, with red and blue swapped, and
turned. If nearly all of them come nearer to the source by the same change, that is what happened
to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.errors import IsthmusError
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True  # needs features
ITEMS, MARGIN, AGREED = 16, 0.02, 0.85
SLOW = 4.0  # seconds of work, beyond which no further variant is tried
COLOURED = 4.0  # mean difference of red and blue, below which a swap changes nothing

VARIANTS: dict[str, tuple[str, str, Callable[[Array], Array]]] = {
    "swap": ("ISX006", "red and blue are swapped", lambda p: p[..., ::-1]),
    "left": ("ISX008", "they are turned left back", lambda p: np.rot90(p, 1)),
    "right": ("ISX008", "they are turned right back", lambda p: np.rot90(p, 3)),
    "over": ("ISX008", "they are turned upside down", lambda p: np.rot90(p, 2)),
}


def find(view: ModelView) -> Iterable[Finding]:
    """Nearest source rows of the pictures as they are, and of their variants."""
    f = view.features
    if view.modality != "image" or f is None or f.source is None:
        return
    looked = _pictures(view)
    if len(looked) < 8:
        return
    place = {row_id: i for i, row_id in enumerate(f.target.samples.ids)}
    ids = view.raw.target.ids
    kept = [(place[ids[row]], pixels) for row, pixels in looked if ids[row] in place]
    if len(kept) < 8:
        return
    at = np.array([position for position, _ in kept])
    near = _nearest(f.source.X)
    as_is = near(np.asarray(f.target.X)[at])
    coloured = np.mean([np.abs(p[..., 0].astype(int) - p[..., 2]).mean() for _, p in kept])
    start = time.process_time()
    gains: dict[str, tuple[float, float]] = {}
    for name, (_, _, change) in VARIANTS.items():
        if name == "swap" and coloured < COLOURED:
            continue
        if name != "swap" and time.process_time() - start > SLOW:
            break
        some = kept if name == "swap" else kept[::2]
        features = _features(view, [change(p) for _, p in some])
        if features is None:
            return
        gain = near(features) - (as_is if name == "swap" else as_is[::2])
        gains[name] = float(gain.mean()), float((gain > 0).mean())
    best = max(gains, key=lambda n: gains[n][0], default="")
    if not best or gains[best][0] < MARGIN or gains[best][1] < AGREED:
        return
    code, words, _ = VARIANTS[best]
    nearer, share = gains[best]
    yield Finding(
        code,
        "warning",
        f"target pictures resemble the source more once {words}",
        f"{100 * share:.0f} % of the pictures tried come nearer, cosine by {nearer:.3f} on average",
        where=view.raw.target.origin,
        remedy="Read both domains in the same way: RGB, upright"
        if code == "ISX006"
        else "Turn the pictures of both domains alike; keep their EXIF tags",
        figures={name: list(value) for name, value in gains.items()},
    )


def _pictures(view: ModelView) -> list[tuple[int, Array]]:
    found = view.raw.pixels("target", view.raw.target)
    step = max(1, len(found) // ITEMS)
    return found[::step][:ITEMS]


def _nearest(source: Array) -> Callable[[Array], Array]:
    unit = _unit(np.asarray(source, dtype=np.float32))

    def near(rows: Array) -> Array:
        closest = np.sort(_unit(rows) @ unit.T, axis=1)[:, -3:]
        return np.asarray(closest.mean(axis=1))

    return near


def _unit(rows: Array) -> Array:
    rows = np.asarray(rows, dtype=np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _features(view: ModelView, pictures: list[Array]) -> Array | None:
    assert view.features is not None
    backbone: Any = view.features.backbone
    try:
        made = [backbone.preprocess(np.ascontiguousarray(p)) for p in pictures]
    except (IsthmusError, TypeError, ValueError, OSError):
        return None
    if len({m.shape for m in made}) != 1:
        return None
    size = int(backbone.batch_size)
    rows = []
    for first in range(0, len(made), size):
        part = np.stack(made[first : first + size])
        rows.append(np.asarray(backbone(view.filled(part)))[: len(part)])
    return np.concatenate(rows)
