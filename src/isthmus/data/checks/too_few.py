"""Layer 1: ISX030: so few rows that the draw decides, not the method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView

LEAST_SCORED = 50
LEAST_A_CLASS = 3


def half_width(rows: int) -> float:
    """Half a 95 % interval of a share near one half, in points.

    >>> round(half_width(100), 1)
    9.8
    """
    return 196 * 0.5 / float(np.sqrt(max(rows, 1)))


def find(view: RawView) -> Iterable[Finding]:
    """Scored rows and labelled rows a class, against what a comparison needs."""
    _role, scored = view.scored
    count = len(scored) if view.truth is None else len(view.truth)
    has_score = view.test is not None or view.truth is not None
    if has_score and count < LEAST_SCORED:
        yield Finding(
            "ISX030",
            "warning",
            f"only {count} rows are scored",
            f"one run's share is uncertain by +-{half_width(count):.0f} points, a lucky draw "
            "decides between methods",
            where=scored.origin,
            remedy="Score more rows, or repeat over at least 5 seeds and report the spread",
            figures={"rows": count, "half_width": half_width(count)},
        )
    if view.labelled is not None and view.task == "classification":
        assert view.labelled.labels is not None
        counts = Counter(str(name) for name in view.labelled.labels)
        name, least = min(counts.items(), key=lambda entry: (entry[1], entry[0]))
        if least < LEAST_A_CLASS and view.source is None:
            yield Finding(
                "ISX030",
                "warning",
                f"the class {name!r} has {least} labelled row{'' if least == 1 else 's'}",
                "which rows were drawn decides the result; no fold can be held out",
                where=view.labelled.origin,
                remedy="Label more rows, or repeat over at least 5 seeds and report the spread",
                figures={"rows": least},
            )
