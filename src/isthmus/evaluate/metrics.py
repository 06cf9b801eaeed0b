"""Figures with intervals: what a report may print about one system, or about two on the same rows.

Point values come from scikit-learn (those it lacks are defined here); each has a 95 % interval.
What cannot be measured is an interval of NaN whose `how` gives the reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.evaluate import classification, multilabel, regression
from isthmus.evaluate.intervals import paired_difference, undefined
from isthmus.evaluate.measure import Measured, as_names
from isthmus.evaluate.resample import Units
from isthmus.evaluate.sealed import SealedLabels
from isthmus.types import Array, Interval, Task

LOWER_IS_BETTER = frozenset(
    {"log_loss", "ece", "ece_adaptive", "brier", "hamming_loss", "mae", "rmse", "median_ae"}
)
MAIN_METRIC: dict[str, str] = {
    "classification": "accuracy",
    "multilabel": "f1_micro",
    "regression": "mae",
}


def score(
    y_true: Any,
    *,
    predicted: Any,
    proba: Array | None = None,
    classes: tuple[str, ...] = (),
    task: Task,
    groups: Array | None = None,
    n_boot: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
    reason: str = "score",
    unknown: str | None = None,
) -> dict[str, Any]:
    """Measure predictions against labels, each figure with its interval.

    Parameters
    ----------
    y_true : array-like or SealedLabels
        (n,) class names; (n, k) bool for multi-label; (n,) numbers for regression. Sealed labels
        are opened once, with `reason`, and the result says so.
    predicted : array-like
        As `y_true`.
    proba : ndarray, optional
        (n, K) probabilities, columns in the order of `classes`, rows summing to 1 (multi-label:
        any score, a column a label).
    classes : tuple of str
        Classes the model was trained on, in column order. Without them the names that occur.
    task : {"classification", "multilabel", "regression"}
    groups : ndarray, optional
        (n,) patients, speakers, ...: whole groups are resampled, since rows of one are alike.
    n_boot : int, default=1000
        Resamples; 0 for figures without intervals.
    level : float, default=0.95
        Nominal coverage.
    random_state : int, default=0
        Seed of the resampling.
    reason : str, default="score"
        Noted where `y_true` is sealed.
    unknown : str, optional
        Classification: what a model that abstains answers for rows of no class of its own. It is
        the right answer for rows of classes that are not in `classes`; figures of
        `isthmus.evaluate.open_set` join, those of `proba` are left out.

    Returns
    -------
    dict
        ``n``, ``n_groups``, ``task``; one `Interval` a figure; for classification and multi-label
        ``per_class`` {name: {figure: Interval}}, ``support``, ``absent``; for classification also
        ``unseen`` {name: rows}, ``confusion`` and ``reliability`` (or None); ``notes`` (sentences
        that belong beside the figures); ``openings`` (count and reasons, None if not sealed).
        `as_json` turns it into plain JSON values.

    Raises
    ------
    DataError
        If there are no rows, lengths differ, a label is missing or probabilities are none.
    UsageError
        If the task is unknown or predictions name a class that is not in `classes`.

    Notes
    -----
    Intervals are expanded percentile intervals (Hesterberg 2015) of the bootstrap over rows or
    groups, unstratified. Shares of rows (accuracy, recall and precision of a class) are joined
    with the Wilson interval, so that 30 of 30 right reads [88.6 %, 100 %] and not certainty;
    calibration errors have the reflected interval, since resampling inflates them. Cost: about a
    second for 1,000 resamples of 10,000 rows and 10 classes.
    """
    openings = None
    if isinstance(y_true, SealedLabels):
        sealed = y_true
        y_true = sealed.open(reason)
        openings = {"count": sealed.openings, "reasons": list(sealed.reasons)}
    measured = _measure(y_true, predicted, proba, classes, task, unknown)
    units = Units.of(measured.n, groups)
    if not 0 < level < 1:
        raise UsageError(f"a level of {level}", where="level", remedy="Give e.g. 0.95")
    result: dict[str, Any] = {
        "task": task,
        "n": measured.n,
        "n_groups": None if units.codes is None else units.count,
    }
    result |= measured.summary(units, n_boot=n_boot, level=level, random_state=random_state)
    if task == "classification":
        result["reliability"] = None
    result |= measured.extras
    result["notes"] = list(measured.notes)
    result["openings"] = openings
    return result


def difference(
    y_true: Any,
    *,
    ours: tuple[Any, Array | None],
    baseline: tuple[Any, Array | None],
    metric: str | None = None,
    classes: tuple[str, ...] = (),
    task: Task,
    groups: Array | None = None,
    n_boot: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> Interval:
    """Interval of ours minus baseline in one figure, both on the same resampled rows.

    Parameters
    ----------
    y_true : array-like
        As in `score`; already opened, since the rows are the same for every comparison.
    ours, baseline : tuple
        (predicted, proba or None) of the two systems.
    metric : str, optional
        Name of a scalar of `score`; default accuracy, f1_micro or mae. In `LOWER_IS_BETTER`
        figures a negative difference is the gain.
    classes, task, groups, n_boot, level, random_state
        As in `score`.

    Raises
    ------
    UsageError
        If there is no such figure.
    """
    metric = metric or MAIN_METRIC.get(task, "")
    pair = [_measure(y_true, *system, classes, task) for system in (ours, baseline)]
    for measured, name in zip(pair, ("ours", "baseline"), strict=True):
        if metric not in measured.figures:
            measured.block_of(metric)  # raises, with the names there are
        figure = measured.figures[metric]
        if np.isnan(figure.value):
            return undefined(f"{metric} of {name}: {figure.reason}", level=level)
    options: dict[str, Any] = {
        "groups": groups,
        "n_boot": n_boot,
        "level": level,
        "random_state": random_state,
    }
    if metric in ("accuracy", "subset_accuracy"):  # row values: the small-sample rule applies
        right = [_right(y_true, system[0], task) for system in (ours, baseline)]
        return paired_difference(right[0], right[1], **options)
    blocks = [measured.block_of(metric) for measured in pair]
    return paired_difference(
        lambda weights: blocks[0](weights)[metric],
        lambda weights: blocks[1](weights)[metric],
        n_rows=pair[0].n,
        **options,
    )


def as_json(result: Any) -> Any:
    """Plain JSON values: intervals as dicts, non-finite numbers as None, arrays as lists."""
    if isinstance(result, Interval):
        return result.as_dict()
    if isinstance(result, dict):
        return {str(key): as_json(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [as_json(value) for value in result]
    if isinstance(result, np.ndarray):
        return as_json(result.tolist())
    if isinstance(result, np.generic):
        return as_json(result.item())
    if isinstance(result, float) and not np.isfinite(result):
        return None
    return result


def _measure(
    y_true: Any,
    predicted: Any,
    proba: Array | None,
    classes: tuple[str, ...],
    task: Task,
    unknown: str | None = None,
) -> Measured:
    if len(y_true) == 0:
        raise DataError("no rows to score", where="y_true")
    if task == "classification":
        return classification.measure(
            y_true, predicted=predicted, proba=proba, classes=tuple(classes), unknown=unknown
        )
    if task == "multilabel":
        return multilabel.measure(y_true, predicted=predicted, proba=proba, classes=tuple(classes))
    if task == "regression":
        return regression.measure(y_true, predicted=predicted)
    raise UsageError(
        f"unknown task {task!r}",
        where="task",
        remedy="Use classification, multilabel or regression",
    )


def _right(y_true: Any, predicted: Any, task: Task) -> Array:
    """(n,) 1 where the row is right."""
    if task == "multilabel":
        return (np.asarray(y_true, bool) == np.asarray(predicted, bool)).all(axis=1) * 1.0
    names = (as_names(y_true, where="y_true"), as_names(predicted, where="predicted"))
    return (names[0] == names[1]) * 1.0
