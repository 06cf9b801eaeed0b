"""Figures where a row may carry several labels at once.

A label that occurs neither in the truth nor among the answers has no F1 and is left out of macro
averages (scikit-learn's ``zero_division=nan``); average precision exists for labels that occur.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.evaluate import replicates as rep
from isthmus.evaluate.measure import Figure, Measured, harmonic, listed
from isthmus.types import Array


def measure(
    y_true: Any, *, predicted: Any, proba: Array | None, classes: tuple[str, ...]
) -> Measured:
    """Figures of one multi-label classifier; arguments as in `isthmus.evaluate.score`."""
    from sklearn.metrics import (
        accuracy_score,
        average_precision_score,
        f1_score,
        hamming_loss,
        precision_score,
        recall_score,
    )

    t, p = _matrix(y_true, "y_true"), _matrix(predicted, "predicted")
    if t.shape != p.shape:
        raise DataError(f"predictions of shape {p.shape} for labels {t.shape}", where="predicted")
    n, size = t.shape
    names = tuple(classes) or tuple(str(k) for k in range(size))
    if len(names) != size:
        raise DataError(f"{len(names)} class names for {size} label columns", where="classes")
    result = Measured(n=n, classes=names)
    support, answered = t.sum(axis=0), p.sum(axis=0)
    absent = [name for k, name in enumerate(names) if support[k] == 0]
    result.extras |= {
        "absent": absent,
        "support": {name: int(support[k]) for k, name in enumerate(names)},
    }
    if absent:
        result.notes.append(f"no test row carries {listed(absent)}: not measured on them")

    single = {"average": None, "zero_division": np.nan}
    f1 = _per_label(f1_score, t, p, single)
    nothing = "no label occurs in the truth or among the answers"
    micro = float(f1_score(t, p, average="micro", zero_division=np.nan))
    defined = np.isfinite(f1)
    result.figures |= {
        # a (n, 1) matrix would be read as one column of a binary task
        "subset_accuracy": Figure(
            float(accuracy_score((t == p).all(axis=1), np.ones(n, bool))),
            trials=n,
            proportion=True,
        ),
        "f1_micro": Figure(micro, nothing, trials=n),
        "f1_macro": Figure(
            float(f1[defined].mean()) if defined.any() else np.nan, nothing, trials=n
        ),
        "hamming_loss": Figure(float(hamming_loss(t.ravel(), p.ravel())), trials=n),
    }
    result.per_class |= {
        "precision": Figure(
            _per_label(precision_score, t, p, single),
            ["never predicted"] * size,
            trials=answered,
            proportion=True,
        ),
        "recall": Figure(
            _per_label(recall_score, t, p, single),
            ["no test row carries it"] * size,
            trials=support,
            proportion=True,
        ),
        "f1": Figure(
            f1, ["neither tested nor predicted"] * size, trials=np.maximum(support, answered)
        ),
    }
    names_of_block = [*result.figures, *(f"per_class.{name}" for name in result.per_class)]
    result.add_block(names_of_block, _count_block(t, p))
    if proba is None:
        reason = "no probabilities were given"
        result.figures["mean_average_precision"] = Figure(np.nan, reason)
        return result

    scores = np.asarray(proba, dtype=np.float64)
    if scores.shape != t.shape or not np.isfinite(scores).all():
        raise DataError(
            f"scores of shape {scores.shape} for labels {t.shape}, or not finite", where="proba"
        )
    occurs = np.flatnonzero(support)
    values = np.full(size, np.nan)
    for k in occurs:
        values[k] = average_precision_score(t[:, k], scores[:, k])
    trials = np.maximum(np.minimum(support, n - support), 1)
    how = "" if len(occurs) == size else f"mean over {len(occurs)} of {size} labels"
    result.figures["mean_average_precision"] = Figure(
        float(values[occurs].mean()) if len(occurs) else np.nan,
        "no label occurs in the test rows",
        trials=harmonic(trials[occurs]) if len(occurs) else None,
        how=how,
    )
    result.per_class["average_precision"] = Figure(
        values, ["no test row carries it"] * size, trials=trials
    )
    parts = [rep.average_precision(t[:, k], scores[:, k]) for k in range(size)]

    def block(weights: Array) -> dict[str, Array]:
        drawn = np.stack([part(weights) for part in parts])
        count = np.isfinite(drawn).sum(axis=0) * 1.0
        mean = rep.ratio(np.nansum(drawn, axis=0), count)
        return {"mean_average_precision": mean, "per_class.average_precision": drawn}

    result.add_block(["mean_average_precision", "per_class.average_precision"], block)
    return result


def _matrix(values: Any, where: str) -> Array:
    """(n, k) bool; anything but 0 and 1 is refused."""
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"labels of shape {array.shape}", where=where, why="(n, k) is needed")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise DataError("multi-label values must be 0 or 1", where=where)
    return array.astype(bool)


def _per_label(function: Any, t: Array, p: Array, options: dict[str, Any]) -> Array:
    """One value a column; columns one by one, since a single column is no multi-label matrix."""
    if t.shape[1] > 1:
        return np.asarray(function(t, p, **options), dtype=float)
    options = options | {"average": "binary", "pos_label": True}
    return np.array([function(t[:, 0], p[:, 0], **options)], dtype=float)


def _count_block(t: Array, p: Array) -> Any:
    """Resampler of what follows from right, true and answered counts a label."""
    both, true, answered = ((a * 1.0).T for a in (t & p, t, p))
    exact = (t == p).all(axis=1) * 1.0
    wrong = (t != p).mean(axis=1)

    def block(weights: Array) -> dict[str, Array]:
        hit, support, given = both @ weights, true @ weights, answered @ weights
        total = weights.sum(axis=0)
        f1 = rep.ratio(2 * hit, support + given)
        count = np.isfinite(f1).sum(axis=0) * 1.0
        return {
            "subset_accuracy": (exact @ weights) / total,
            "f1_micro": rep.ratio(2 * hit.sum(axis=0), (support + given).sum(axis=0)),
            "f1_macro": rep.ratio(np.nansum(f1, axis=0), count),
            "hamming_loss": (wrong @ weights) / total,
            "per_class.precision": rep.ratio(hit, given),
            "per_class.recall": rep.ratio(hit, support),
            "per_class.f1": f1,
        }

    return block
