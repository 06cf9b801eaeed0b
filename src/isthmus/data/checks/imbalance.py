"""Layer 1: ISX024: one class is so frequent that accuracy says nothing, or shares differ."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.class_sets import majority
from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.types import Array

FREQUENT = 0.8
SHIFT = 0.25  # total variation between the class shares of training and scored rows
LEAST_ROWS = 30


def find(view: RawView) -> Iterable[Finding]:
    """Majority shares, and the shift of the class shares where the truth may be seen."""
    if view.task != "classification":
        return
    looked = [(role, part.labels, part.origin) for role, part in view.training]
    if view.truth is not None:
        looked.append((view.scored[0], view.truth, view.scored[1].origin))
    for role, labels, origin in looked:
        if labels is None or len(labels) < LEAST_ROWS:
            continue
        name, share = majority(labels)
        if share >= FREQUENT:
            yield Finding(
                "ISX024",
                "warning",
                f"{100 * share:.0f} % of the {role} rows are {name!r}",
                f"whoever always says {name!r} reaches an accuracy of {100 * share:.0f} %",
                where=origin,
                remedy="Read balanced accuracy and macro F1 beside accuracy",
                figures={"majority": share},
            )
    if view.truth is not None and view.training and len(view.truth) >= LEAST_ROWS:
        labels = view.training[-1][1].labels
        if labels is not None:
            gap = total_variation(labels, view.truth)
            if gap >= SHIFT:
                yield Finding(
                    "ISX024",
                    "warning",
                    f"the class shares of training and {view.scored[0]} rows differ by "
                    f"{100 * gap:.0f} %",
                    "total variation distance; probabilities learned on one mislead on the other",
                    where=view.scored[1].origin,
                    remedy="Use a label shift method (isthmus methods --family label-shift)",
                    figures={"total_variation": gap},
                )


def total_variation(one: Array, other: Array) -> float:
    """Half the sum of differences of the class shares."""
    a, b = (np.array([str(v) for v in labels if v is not None]) for labels in (one, other))
    return float(sum(abs((a == n).mean() - (b == n).mean()) for n in {*a, *b}) / 2)
