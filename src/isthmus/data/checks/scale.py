"""Layer 1: ISX005: one side in 0..255, the other in 0..1; pictures and sounds divided twice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.data.samples import Samples
from isthmus.errors import IsthmusError
from isthmus.types import Array

FACTORS = (255.0, 256.0, 257.0, 65535.0, 32768.0, 1000.0, 100.0, 1024.0)
DARK, QUIET = 3, 2e-3  # brightest pixel; peak of a recording
QUANTILES = (5, 25, 50, 75, 95)


def find(view: RawView) -> Iterable[Finding]:
    """Known factors between the domains, and values far below their range."""
    if view.modality == "features":
        yield from _features(view)
    elif view.modality == "table":
        yield from _columns(view)
    elif view.modality in ("image", "audio"):
        for role, part in view.parts():
            yield from _too_small(view, role, part)


def _features(view: RawView) -> Iterable[Finding]:
    source, target = view.domains
    if source is None:
        return
    one, other = view.numbers(source), view.numbers(target)
    if one is None or other is None or one[1].shape[1] != other[1].shape[1]:
        return
    largest = [float(np.nanmax(np.abs(m[1]))) for m in (one, other)]
    if min(largest) <= 0 or not np.isfinite(largest).all():
        return
    ratio = largest[0] / largest[1]
    factor = _known(ratio, 0.01)
    usual = [np.nanpercentile(np.abs(m[1]), 99) for m in (one, other)]
    if factor and min(usual) > 0 and abs(np.log10(usual[0] / usual[1] / ratio)) < 0.5:
        yield _finding(
            f"one domain is {factor:g} times as large as the other",
            f"largest value {largest[0]:g} in the source, {largest[1]:g} in the target",
            target,
            ratio,
        )


def _columns(view: RawView) -> Iterable[Finding]:
    source, target = view.domains
    one = None if source is None else view.numbers(source)
    other = view.numbers(target)
    if one is None or other is None:
        return
    for column, name in enumerate(one[0]):
        if name not in other[0]:
            continue
        a, b = (_quantiles(m[1][:, k]) for m, k in ((one, column), (other, other[0].index(name))))
        if a is None or b is None:
            continue
        ratios = a / b
        factor = _known(float(np.median(ratios)), 0.25)
        if factor and ratios.max() / ratios.min() < 1.5:
            yield _finding(
                f"the column {name!r} differs by a factor of about {factor:g}",
                f"median {a[2]:g} in the source, {b[2]:g} in the target; the other quantiles "
                "differ by the same factor: another unit?",
                target,
                float(np.median(ratios)),
            )


def _quantiles(column: Array) -> Array | None:
    values = column[np.isfinite(column)]
    if len(values) < 20 or values.min() <= 0 or len(np.unique(values)) < 8:
        return None
    return np.asarray(np.percentile(values, QUANTILES))


def _known(ratio: float, tolerance: float) -> float:
    ratio = ratio if ratio >= 1 else 1 / ratio
    return next((f for f in FACTORS if abs(ratio / f - 1) <= tolerance), 0.0)


def _too_small(view: RawView, role: str, part: Samples) -> Iterable[Finding]:
    if view.modality == "image":
        peaks = [(row, int(p.max())) for row, p in view.pixels(role, part)]
        small = [row for row, peak in peaks if 0 < peak <= DARK]
        what, limit = "no pixel brighter than", f"{DARK} of 255"
    else:
        peaks = _peaks(view, role, part)  # type: ignore[assignment]
        small = [row for row, peak in peaks if 0 < peak < QUIET]
        what, limit = "no sample larger than", f"{QUIET:g} of full scale"
    if peaks and len(small) >= max(2, 0.5 * len(peaks)):
        yield Finding(
            "ISX005",
            "warning",
            f"{len(small)} of {len(peaks)} {role} items seem to be divided by their scale twice",
            f"{what} {limit}",
            where=part.origin,
            remedy="Scale once: 0..255 for 8-bit pictures, full scale for recordings",
            rows=tuple(part.ids[row] for row in small),
        )


def _peaks(view: RawView, role: str, part: Samples) -> list[tuple[int, float]]:
    from isthmus.data.audio import decode

    found = []
    for row, raw in view.items(role, part):
        try:
            found.append((row, float(np.abs(decode(raw, rate=8000)).max(initial=0))))
        except IsthmusError:
            continue
    return found


def _finding(title: str, evidence: str, part: Samples, ratio: float) -> Finding:
    return Finding(
        "ISX005",
        "warning",
        title,
        evidence,
        where=part.origin,
        remedy="Bring both domains to the same unit before anything is fitted",
        figures={"ratio": ratio},
    )
