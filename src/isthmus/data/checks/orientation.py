"""Layer 1: ISX008: photos that lie on their side and say so in their EXIF data."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView

_TAG = 0x0112
LOOKED = 200
_HEAD = 1 << 18  # EXIF stands in front of the pixels


def orientation(raw: Any) -> int:
    """EXIF orientation of encoded bytes, 1 where there is none."""
    from PIL import Image

    if not isinstance(raw, bytes) or not (b"Exif" in raw[:_HEAD] or b"eXIf" in raw[:_HEAD]):
        return 1
    try:
        with Image.open(io.BytesIO(raw)) as image:
            return int(image.getexif().get(_TAG, 1))
    except Exception:  # damaged files are another finding
        return 1


def find(view: RawView) -> Iterable[Finding]:
    """The share of rotated photos: readers that ignore the tag see them lying."""
    if view.modality != "image":
        return
    for role, part in view.parts():
        items = view.items(role, part, LOOKED)
        turned = [row for row, raw in items if orientation(raw) not in (0, 1)]
        if turned:
            yield Finding(
                "ISX008",
                "info",
                f"{len(turned)} of {len(items)} {role} photos are turned by their EXIF tag",
                "isthmus applies the tag; programs that ignore it see them on their side",
                where=part.origin,
                remedy="Nothing to do here; apply the tag wherever else these photos are read",
                rows=tuple(part.ids[row] for row in turned),
                figures={"turned": len(turned), "looked": len(items)},
            )
