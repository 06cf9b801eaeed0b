"""Layer 6: classes that only one side has, looked for with heads of three kinds."""

from __future__ import annotations

from typing import Any

from isthmus.select.mismatch import Mismatch, mismatch
from isthmus.select.views import Views


def class_gap(seen: Views) -> Mismatch:
    """What `isthmus.select.mismatch` says of this pair; no label of a target row is read.

    On 30 real pairs with equal classes (1 of 2 of the reported tasks, 600 rows a side) it called 4
    present classes absent (3 of them in 6 pairs of visual words) and saw novel rows in 1; with 3
    to 5 classes taken from the target it named 33 % of them on visual words, 47 % on digits, all on
    objects and 93 % on spoken digits; taken from the source, it saw novel rows in 1 of 6, 1 of 2, 0
    of 1 and 6 of 6 pairs.
    """
    return mismatch(seen.scene, seen.held.mean(axis=0))


def told(found: Mismatch, classes: tuple[str, ...]) -> dict[str, Any]:
    """JSON form: classes that seem absent, share of rows that seem novel, and the sentences."""
    return {
        "absent": [str(classes[c]) for c in found.absent],
        "presence": {
            name: round(float(p), 3) for name, p in zip(classes, found.presence, strict=True)
        },
        "novel": found.novel_share.as_dict() if found.abstain.any() else None,
        "false_alarm": round(found.false_alarm, 4),
        "notes": list(found.notes),
    }
