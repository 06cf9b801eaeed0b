"""Figures of a classifier: from the named labels, the given answers and their probabilities.

Conventions (all of scikit-learn's, except where it would show a 0 for "not measurable"):

- Macro averages run over the classes that occur in the truth or among the answers. A class that
  is never answered has precision 0; a class without test rows has no recall and is left out of
  the recall average. So macro recall and balanced accuracy are the same number.
- Per class, what cannot be measured is undefined with its reason, never 0.
- A label the model was never trained on counts as an error everywhere and is reported.
- ROC-AUC is one class against the rest, averaged over the classes for which it exists; with two
  classes it is the AUC of the second one.
- Brier score: mean squared difference, summed over the classes (0..2); with two classes that of
  the second one (0..1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from isthmus.data.labels import natural_sorted
from isthmus.errors import DataError, UsageError
from isthmus.evaluate import replicates as rep
from isthmus.evaluate.calibration import reliability
from isthmus.evaluate.measure import Figure, Measured, as_names, harmonic, listed
from isthmus.evaluate.open_set import add_open_set
from isthmus.evaluate.resample import Units
from isthmus.types import Array

EXACT_WORK = 500_000  # rows x classes up to which every AUC is recomputed on every resample
PROBABILITY_FIGURES = ("roc_auc", "log_loss", "ece", "ece_adaptive", "brier")


def measure(
    y_true: Any,
    *,
    predicted: Any,
    proba: Array | None,
    classes: tuple[str, ...],
    unknown: str | None = None,
) -> Measured:
    """Figures of one classifier on one test set; arguments as in `isthmus.evaluate.score`."""
    truth = as_names(y_true, where="y_true")
    answer = as_names(predicted, where="predicted")
    trained, novel = len(classes), dict[str, int]()
    if unknown is not None:
        truth, novel = _as_unknown(truth, classes, unknown)
        classes, proba = (*classes, unknown), None
    if len(truth) != len(answer):
        raise DataError(f"{len(answer)} predictions for {len(truth)} rows", where="predicted")
    if len(set(classes)) != len(classes):
        raise UsageError("class names repeat", where="classes")
    if proba is not None and not classes:
        raise UsageError("probabilities need the class names of their columns", where="classes")
    known = tuple(classes) or tuple(natural_sorted(set(truth) | set(answer)))
    stray = sorted(set(answer) - set(known))
    if stray:
        raise UsageError(
            f"predictions name classes that are not in `classes`: {listed(stray)}",
            where="predicted",
            remedy="Give the classes the model was trained on",
        )
    unseen = natural_sorted(set(truth) - set(known))
    names = known + tuple(unseen)
    position = {name: i for i, name in enumerate(names)}
    t = np.array([position[name] for name in truth], dtype=np.int64)
    p = np.array([position[name] for name in answer], dtype=np.int64)

    result = Measured(n=len(t), classes=names)
    _remarks(result, t, known, unseen)
    _counts(result, t, p)
    if unknown is not None:
        result.extras["unseen"] = novel
        result.extras["absent"] = [name for name in result.extras["absent"] if name != unknown]
    if unknown is not None or (unseen and classes):
        add_open_set(result, t, p, trained)
    if proba is None:
        why = "no probabilities were given"
        if unknown is not None:
            why = "the model abstains, and its probabilities are those of known classes alone"
        for name in PROBABILITY_FIGURES:
            result.figures[name] = Figure(np.nan, why)
    else:
        _probabilities(result, t, p, _checked(proba, len(t), known), known)
    return result


def _as_unknown(
    truth: Array, classes: tuple[str, ...], unknown: str
) -> tuple[Array, dict[str, int]]:
    """Labels with every class that the model was not trained on as one, and their rows."""
    if not classes or unknown in classes:
        raise UsageError(
            f"{unknown!r} cannot stand for classes that the model was not trained on",
            where="unknown",
            why="it is one of its classes" if classes else "its classes were not given",
        )
    outside = ~np.isin(truth.astype(str), classes)
    names, counts = np.unique(truth[outside].astype(str), return_counts=True)
    found = {str(n): int(c) for n, c in zip(names, counts, strict=True)}
    return np.where(outside, unknown, truth), {name: found[name] for name in natural_sorted(found)}


def _remarks(result: Measured, t: Array, known: tuple[str, ...], unseen: list[str]) -> None:
    """What the reader must know about the classes before the figures."""
    support = np.bincount(t, minlength=len(result.classes))
    absent = [name for k, name in enumerate(known) if support[k] == 0]
    result.extras["absent"] = absent
    result.extras["unseen"] = {name: int(support[result.classes.index(name)]) for name in unseen}
    if unseen:
        rows = sum(result.extras["unseen"].values())
        result.notes.append(
            f"{rows} of {len(t)} test rows carry classes the model was not trained on "
            f"({listed(unseen)}): they count as errors"
        )
    if absent:
        result.notes.append(f"no test row for {listed(absent)}: not measured on them")
    if (support > 0).sum() == 1:
        result.notes.append(f"all test rows are {result.classes[t[0]]!r}: nothing to tell apart")


def _counts(result: Measured, t: Array, p: Array) -> None:
    """Figures that rest on the confusion counts."""
    from sklearn.metrics import (
        accuracy_score,
        confusion_matrix,
        f1_score,
        precision_score,
        recall_score,
    )

    n, size = len(t), len(result.classes)
    every = np.arange(size)
    union, present = np.union1d(t, p), np.unique(t)
    support = np.bincount(t, minlength=size)
    answered = np.bincount(p, minlength=size)
    per_class_rows = harmonic(support[present])
    macro = len(present) * per_class_rows  # the trials that carry a mean of class shares

    accuracy = Figure(float(accuracy_score(t, p)), trials=n, proportion=True)
    recall = float(recall_score(t, p, labels=present, average="macro"))
    shared = {"labels": union, "zero_division": 0.0}
    result.figures |= {
        "accuracy": accuracy,
        "balanced_accuracy": Figure(recall, trials=macro),
        "precision_macro": Figure(precision_score(t, p, average="macro", **shared), trials=macro),
        "precision_weighted": Figure(precision_score(t, p, average="weighted", **shared), trials=n),
        "recall_macro": Figure(recall, trials=macro),
        "recall_weighted": Figure(
            recall_score(t, p, average="weighted", **shared), trials=n, proportion=True
        ),
        "f1_macro": Figure(f1_score(t, p, average="macro", **shared), trials=macro),
        "f1_weighted": Figure(f1_score(t, p, average="weighted", **shared), trials=n),
    }
    # scikit-learn's own word for "leave it undefined" is zero_division=nan
    single = {"labels": every, "average": None, "zero_division": np.nan}
    result.per_class |= {
        "precision": Figure(
            precision_score(t, p, **single),
            ["never predicted"] * size,
            trials=answered,
            proportion=True,
        ),
        "recall": Figure(
            recall_score(t, p, **single), ["no test rows"] * size, trials=support, proportion=True
        ),
        "f1": Figure(
            f1_score(t, p, **single),
            ["neither tested nor predicted"] * size,
            trials=np.maximum(support, answered),
        ),
    }
    result.extras["support"] = {name: int(support[k]) for k, name in enumerate(result.classes)}
    result.extras["confusion"] = {
        "classes": list(result.classes),
        "rows": "true",
        "columns": "predicted",
        # scikit-learn warns of a 1 x 1 matrix even when it was asked for one
        "matrix": confusion_matrix(t, p, labels=every).tolist() if size > 1 else [[n]],
    }
    names = [*result.figures, *(f"per_class.{name}" for name in result.per_class)]
    result.add_block(names, confusion_block(t, p, size))


def confusion_block(t: Array, p: Array, size: int) -> Any:
    """Resampler of everything that follows from right, true and answered counts a class."""
    right = rep.collector(np.where(t == p, t, -1), size)
    true, answered = rep.collector(t, size), rep.collector(p, size)

    def block(weights: Array) -> dict[str, Array]:
        hit, support, given = right @ weights, true @ weights, answered @ weights
        total = weights.sum(axis=0)
        precision, recall = rep.ratio(hit, given), rep.ratio(hit, support)
        f1 = rep.ratio(2 * hit, support + given)
        occurs = ((support + given) > 0).sum(axis=0)
        macro_recall = rep.ratio(np.nansum(recall, axis=0), (support > 0).sum(axis=0) * 1.0)

        def weighted(values: Array) -> Array:
            return (support * np.nan_to_num(values)).sum(axis=0) / total

        accuracy = hit.sum(axis=0) / total
        return {
            "accuracy": accuracy,
            "balanced_accuracy": macro_recall,
            "precision_macro": np.nansum(precision, axis=0) / occurs,
            "precision_weighted": weighted(precision),
            "recall_macro": macro_recall,
            "recall_weighted": accuracy,
            "f1_macro": np.nansum(f1, axis=0) / occurs,
            "f1_weighted": weighted(f1),
            "per_class.precision": precision,
            "per_class.recall": recall,
            "per_class.f1": f1,
        }

    return block


def _checked(proba: Array, n: int, known: tuple[str, ...]) -> Array:
    """Probabilities as float64 rows that sum to 1; anything else is refused, not mended."""
    values = np.asarray(proba, dtype=np.float64)
    if values.shape != (n, len(known)):
        raise DataError(
            f"probabilities of shape {values.shape} for {n} rows and {len(known)} classes",
            where="proba",
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError("a probability is NaN or outside [0, 1]", where="proba")
    sums = values.sum(axis=1, keepdims=True)
    if np.abs(sums - 1).max() > 1e-3:
        raise DataError(
            "probabilities do not sum to 1",
            where=f"proba row {int(np.abs(sums - 1).argmax())}",
            remedy="Give probabilities, not scores or logits",
        )
    return values / sums  # float32 rounding only


def _probabilities(
    result: Measured, t: Array, p: Array, proba: Array, known: tuple[str, ...]
) -> None:
    """Figures that rest on the probabilities."""
    best = proba.argmax(axis=1)
    # only a strictly larger probability elsewhere is a disagreement; ties are none
    differs = int((proba[np.arange(len(t)), p] < proba.max(axis=1)).sum())
    if differs:
        result.notes.append(
            f"{differs} of {len(t)} predictions are not the most probable class; calibration "
            "figures judge the most probable one"
        )
    _roc_auc(result, t, proba, known)
    _row_losses(result, t, proba, known)

    confidence, right = proba.max(axis=1), best == t
    confidence = np.minimum(confidence, 1.0)
    gap = confidence - right
    for name, adaptive in (("ece", False), ("ece_adaptive", True)):
        table = reliability(confidence, right, adaptive=adaptive)
        size, kind = len(table.count), "count" if adaptive else "width"
        result.figures[name] = Figure(
            table.ece,
            pivot=True,
            how=f"bins of equal {kind}: {size}, most probable class",
            noise=_noise(table.codes, size, gap),
        )
        result.add_row_block(name, rep.binned_error(table.codes, size, gap))
        if not adaptive:
            result.extras["reliability"] = table.as_dict()


def _noise(codes: Array, size: int, gap: Array) -> Callable[[Units, int, int], Array]:
    """What these rows would show of a calibrated model (see `replicates.calibrated_error`)."""
    return lambda units, n_boot, seed: rep.calibrated_error(
        codes, size, gap, units, n_boot=n_boot, random_state=seed
    )


def _roc_auc(result: Measured, t: Array, proba: Array, known: tuple[str, ...]) -> None:
    from sklearn.metrics import roc_auc_score

    size = len(known)
    columns = [1] if size == 2 else list(range(size))
    exact = len(t) * len(columns) <= EXACT_WORK
    support = np.bincount(t, minlength=len(result.classes))
    trials = np.minimum(support, len(t) - support)[columns]
    values = np.full(len(columns), np.nan)
    for i in np.flatnonzero(trials):
        positive, scores = t == columns[i], proba[:, columns[i]]
        values[i] = (
            roc_auc_score(positive, scores) if exact else rep.auc_influence(positive, scores)[0]
        )
    defined = np.flatnonzero(trials)
    reason = "the test rows hold one class only"
    how = f"positive class {known[1]!r}" if size == 2 else "one class against the rest, mean"
    if size != 2 and 0 < len(defined) < size:
        how += f" over {len(defined)} of {size} classes"
        result.notes.append(f"ROC-AUC is the mean over {len(defined)} of {size} classes")
    if not exact:
        how += "; linearised bootstrap (infinitesimal jackknife)"
    value = float(values[defined].mean()) if len(defined) else np.nan
    weakest = harmonic(trials[defined]) if len(defined) else None
    result.figures["roc_auc"] = Figure(value, reason, trials=weakest, how=how)
    if size > 2:
        extra = len(result.classes) - size
        result.per_class["roc_auc"] = Figure(
            np.concatenate([values, np.full(extra, np.nan)]),
            ["one side has no test rows"] * size + ["not among the model's classes"] * extra,
            trials=np.concatenate([trials, np.zeros(extra)]),
        )
    result.add_block(
        ["roc_auc", "per_class.roc_auc"],
        auc_block(t, proba, columns, len(result.classes), exact=exact),
    )


def auc_block(t: Array, proba: Array, columns: list[int], size: int, *, exact: bool) -> Any:
    """Resampler of the AUC of each column against the rest, and of their mean."""
    if exact:
        parts = [rep.auc(t == k, proba[:, k]) for k in columns]
    else:
        pairs = [rep.auc_influence(t == k, proba[:, k]) for k in columns]
        base = np.array([area for area, _ in pairs])[:, None]
        influence = np.stack([rows for _, rows in pairs])

    def block(weights: Array) -> dict[str, Array]:
        if exact:
            values = np.stack([part(weights) for part in parts])
        else:
            values = np.clip(base + (influence @ weights) / weights.sum(axis=0), 0, 1)
        count = np.isfinite(values).sum(axis=0)
        mean = rep.ratio(np.nansum(values, axis=0), count * 1.0)
        out = {"roc_auc": mean}
        if len(columns) > 1:
            rest = np.full((size - len(columns), weights.shape[1]), np.nan)
            out["per_class.roc_auc"] = np.concatenate([values, rest])
        return out

    return block


def _row_losses(result: Measured, t: Array, proba: Array, known: tuple[str, ...]) -> None:
    """Log-loss and Brier score: means of row values."""
    from sklearn.metrics import log_loss

    size, n = len(known), len(t)
    inside = t < size
    target = np.zeros((n, size))
    target[np.flatnonzero(inside), t[inside]] = 1.0
    brier = ((proba - target) ** 2).sum(axis=1)
    if size == 2:
        brier = brier / 2
    result.figures["brier"] = Figure(float(brier.mean()))
    result.add_row_block("brier", rep.row_mean(brier))
    if not inside.all():
        reason = f"{int((~inside).sum())} test rows carry classes without a probability"
        result.figures["log_loss"] = Figure(np.nan, reason)
        return
    eps = np.finfo(np.float64).eps
    rows = -np.log(np.clip(proba[np.arange(n), t], eps, 1 - eps))
    # scikit-learn's log_loss cannot take a single class
    value = log_loss(t, proba, labels=np.arange(size)) if size > 1 else rows.mean()
    result.figures["log_loss"] = Figure(float(value), how="probabilities clipped at 2.2e-16")
    result.add_row_block("log_loss", rep.row_mean(rows))
