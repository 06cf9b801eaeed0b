"""Layer 7: what a prediction rests on, drawn over the picture, the words or the spectrogram."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from isthmus.report.charts.png import grey_png
from isthmus.report.charts.svg import picture, tag


def strength(drops: Sequence[float]) -> list[float]:
    """Drops in units of the largest one, in -1..1; nothing is made of noise below 0.005."""
    top = max((abs(d) for d in drops), default=0.0)
    return [d / max(top, 0.005) for d in drops]


def over_picture(uri: str, entry: dict[str, Any], *, title: str) -> str:
    """Patches over the thumbnail: the stronger the colour, the more the prediction needs it."""
    width, height = entry["size"]
    scale = 224 / max(width, height)
    w, h = width * scale, height * scale
    parts = [tag("image", href=uri, x=0, y=0, width=float(w), height=float(h),
                 preserveAspectRatio="none")]  # fmt: skip
    return picture(
        [*parts, *_patches(entry, w, h, upwards=False)], w, h, title=title, class_="heat"
    )


def over_spectrogram(entry: dict[str, Any], *, title: str, seconds: str) -> str:
    """The same over time and frequency; low tones at the bottom."""
    rows = entry["spectrogram"]
    uri = "data:image/png;base64," + base64.b64encode(grey_png(rows[::-1])).decode()
    width, height, left, bottom = 360, 150, 44, 34
    parts = [
        tag("image", href=uri, x=left, y=0, width=width, height=height, preserveAspectRatio="none")
    ]
    parts += [
        p.replace("<rect", f'<rect transform="translate({left} 0)"')
        for p in _patches(entry, width, height, upwards=True)
    ]
    hertz = entry["hertz"]
    for k, value in enumerate(hertz):
        y = height - k * height / (len(hertz) - 1)
        text = f"{value / 1000:.1f}" if value else "0"
        parts.append(
            tag("text", text, class_="tick", x=left - 6, y=max(y + 4, 10.0), text_anchor="end")
        )
    parts.append(
        tag("text", "kHz", class_="tick", x=left - 6, y=float(height + 16), text_anchor="end")
    )
    total = float(entry["seconds"])
    for share in (0.0, 0.5, 1.0):
        anchor = ("start", "middle", "end")[int(2 * share)]
        parts.append(
            tag("text", f"{share * total:.2f} {seconds}", class_="tick", x=left + share * width,
                y=float(height + 16), text_anchor=anchor)
        )  # fmt: skip
    return picture(parts, left + width + 2, height + bottom - 12, title=title, class_="heat")


def _patches(entry: dict[str, Any], width: float, height: float, *, upwards: bool) -> list[str]:
    rows, columns = entry["grid"]
    parts = []
    for k, s in enumerate(strength(entry["drops"])):
        if abs(s) < 0.15:
            continue
        r, c = divmod(k, columns)
        y = (rows - 1 - r if upwards else r) * height / rows
        parts.append(
            tag("rect", class_="need" if s > 0 else "against", x=c * width / columns, y=float(y),
                width=width / columns, height=height / rows, fill_opacity=f"{0.65 * abs(s):.2f}")
        )  # fmt: skip
    return parts
