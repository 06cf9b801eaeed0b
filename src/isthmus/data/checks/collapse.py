"""Layer 1: ISX009: pictures that lost their brightness steps in a conversion."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.types import Array

FEW_LEVELS, RICH_LEVELS = 8, 32
SATURATED, USUAL = 0.2, 0.05


def levels_and_saturation(pixels: Array) -> tuple[int, float]:
    """(different values of the richest channel, share of pixels at the very top)."""
    flat = pixels.reshape(-1, 3)
    levels = max(int((np.bincount(c, minlength=256) > 0).sum()) for c in flat.T)
    return levels, float((flat.min(axis=1) == 255).mean())


def find(view: RawView) -> Iterable[Finding]:
    """Few levels or clipped highlights on one side only, or in pictures that are no drawings."""
    if view.modality != "image":
        return
    looked = {}
    for role, part in view.parts():
        found = [(row, *levels_and_saturation(p)) for row, p in view.pixels(role, part)]
        if found:
            looked[role] = part, found
    rich = any(np.median([f[1] for f in found]) > RICH_LEVELS for _, found in looked.values())
    clean = any(np.median([f[2] for f in found]) < USUAL for _, found in looked.values())
    for role, (part, found) in looked.items():
        # two levels are a drawing, unless the other side holds photos
        few = [f[0] for f in found if f[1] <= FEW_LEVELS and (f[1] > 2 or rich)]
        full = [f[0] for f in found if f[2] > SATURATED]
        if len(few) >= max(2, 0.5 * len(found)):
            rows, what = few, f"at most {FEW_LEVELS} brightness levels"
        elif clean and len(full) >= max(2, 0.5 * len(found)):
            rows, what = full, f"more than {100 * SATURATED:.0f} % of their pixels fully white"
        else:
            continue
        yield Finding(
            "ISX009",
            "warning",
            f"{len(rows)} of {len(found)} {role} pictures have {what}",
            "a 16-bit, CMYK or palette file that was clipped or cut to 8 bits looks like this",
            where=part.origin,
            remedy="Give the original files: isthmus converts 16-bit and CMYK by their own rules",
            rows=tuple(part.ids[row] for row in rows),
            figures={"looked": len(found), "collapsed": len(rows)},
        )
