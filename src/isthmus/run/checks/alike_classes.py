"""Layer 8: ISX016: two names a letter apart whose rows cannot be told apart either."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks import quick
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True  # needs features
ALIKE, MIXED = 0.8, 0.3
LEAST_LETTERS, LEAST_ROWS = 4, 6


def pairs(names: list[str]) -> list[tuple[str, str]]:
    """Names that nearly agree, and not because they are numbered."""
    found = []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            letters = ["".join(c for c in n.casefold() if c.isalpha()) for n in (one, other)]
            if min(map(len, letters)) < LEAST_LETTERS or letters[0] == letters[1] != "":
                continue  # numbered names, or case only: another check
            if difflib.SequenceMatcher(None, letters[0], letters[1]).ratio() >= ALIKE:
                found.append((one, other))
    return found


def find(view: ModelView) -> Iterable[Finding]:
    """Out-of-fold confusion of the two classes with each other."""
    for role, part in view.training():
        labels = part.samples.labels
        if part.samples.task != "classification" or labels is None:
            continue
        y = labels.astype(str)
        names = sorted(set(y.tolist()))
        if len(names) > 500:
            continue
        for one, other in pairs(names):
            rows = np.flatnonzero((y == one) | (y == other))
            if min((y == one).sum(), (y == other).sum()) < LEAST_ROWS:
                continue
            error = _error(np.asarray(part.X)[rows], y[rows], columns=view.columns)
            if error >= MIXED:
                yield Finding(
                    "ISX016",
                    "warning",
                    f"the classes {one!r} and {other!r} of the {role} seem to be one",
                    f"their names nearly agree, and {100 * error:.0f} % of their rows are taken "
                    "for the other one",
                    where=part.samples.origin,
                    remedy="Give them one spelling if they are one class",
                    figures={"confused": error},
                )


def _error(X: Array, y: Array, *, columns: bool) -> float:
    keep = quick.thinned(y, 0, 400)
    scores, classes = quick.out_of_fold(X[keep], y[keep], columns=columns)
    wrong = classes[scores.argmax(axis=1)] != y[keep]
    return float(np.mean([wrong[y[keep] == c].mean() for c in classes]))
