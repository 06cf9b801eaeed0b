"""Layer 8: ISX012 and ISX013: the encoder of a table must be deterministic, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks.gap import EQUAL, relative_gap
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True
ROWS = 64


def find(view: ModelView) -> Iterable[Finding]:
    """The same rows twice, and two of them alone."""
    frame = view.frame
    if frame is None or view.features is None or len(frame) < 4:
        return
    backbone: Any = view.features.backbone
    encode = getattr(backbone, "encode", None)  # its notes are returned, not logged

    def made(part: Any) -> Array:
        return np.asarray(backbone(part) if encode is None else encode(part)[0])

    rows = frame.iloc[:ROWS]
    one, two = made(rows), made(rows)
    random = relative_gap(one, two)
    if random > EQUAL:
        yield view.found(
            "ISX013",
            "error",
            "the same rows give other features each time",
            f"two calls differ by {random:.1e} of the largest value",
            "Fix the seed of the encoder",
        )
        return
    alone = made(rows.iloc[:2])
    company = relative_gap(one[:2], alone)
    if company > EQUAL:
        yield view.found(
            "ISX012",
            "error",
            "a row's features depend on the other rows of the table",
            f"the first two rows alone differ by {company:.1e} of the largest value",
            "Fit the encoder once, on training rows, and only apply it afterwards",
        )
