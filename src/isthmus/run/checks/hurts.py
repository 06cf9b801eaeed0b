"""Layer 8: ISX023: a source that teaches less than nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks import quick
from isthmus.run.checks.permutation import permuted
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True  # needs features
LEAST_ROWS = 30
SURE = 1.645  # one-sided 95 %


def find(view: ModelView) -> Iterable[Finding]:
    """Source-only predictions of labelled rows of the target against the majority's share.

    The rows are the labelled target rows, or the scored ones where their labels are no secret.
    """
    f = view.features
    if view.raw.task != "classification" or f is None or f.source is None:
        return
    assert f.source.samples.labels is not None
    y = f.source.samples.labels.astype(str)
    found = _rows(view)
    if found is None or len(set(y)) < 2:
        return
    role, X, truth = found
    if len(truth) < LEAST_ROWS:
        return
    predicted = quick.predict(f.source.X, y, X, columns=view.columns, seed=view.raw.seed)
    if permuted(truth, predicted, role, "") is not None:
        return  # another finding explains it
    right = float((predicted == truth).mean())
    name, count = Counter(truth.tolist()).most_common(1)[0]
    majority = count / len(truth)
    # balanced accuracy: where class shares differ, the majority's share is no fair bar
    there = sorted(set(truth.tolist()))
    recall = [float((predicted[truth == c] == c).mean()) for c in there]
    balanced, chance = float(np.mean(recall)), 1 / max(len(set(y)), len(there))
    error = float(np.sqrt(chance * (1 - chance) / len(truth)))
    if balanced <= chance + SURE * error:
        yield Finding(
            "ISX023",
            "warning",
            f"what the source teaches is worse than a guess on the {role} rows",
            f"balanced accuracy {100 * balanced:.0f} %, by chance {100 * chance:.0f} %; accuracy "
            f"{100 * right:.0f} %, always {name!r} {100 * majority:.0f} %",
            where=view.raw.source.origin if view.raw.source is not None else "",
            remedy="Check that both sides label the same thing; or leave the source out",
            figures={"balanced": balanced, "accuracy": right, "majority": majority},
        )


def _rows(view: ModelView) -> tuple[str, Array, Array] | None:
    f = view.features
    assert f is not None
    scored, truth = view.scored(), view.truth()
    if scored is not None and truth is not None:
        return scored[0], scored[1].X, truth.astype(str)
    if f.labelled is not None and f.labelled.samples.labels is not None:
        return "labelled target", f.labelled.X, f.labelled.samples.labels.astype(str)
    return None
