"""What stands beside every result: the constant answer, and learning without transfer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.data.labels import natural_sorted
from isthmus.data.quarantine import check_bad_share
from isthmus.data.samples import Problem, Samples
from isthmus.errors import DataError, UsageError
from isthmus.evaluate.measure import as_names
from isthmus.evaluate.raw import Decoded, RawFeatures
from isthmus.types import Array, Task

logger = logging.getLogger(__name__)

SPARSE_GRID = tuple(10.0**i for i in np.arange(-1, 3.1, 0.5))  # of C; TF-IDF rows have length 1


@dataclass(frozen=True)
class Majority:
    """The same answer for every row.

    Parameters
    ----------
    task : str
    constant : str, float or ndarray of bool
        Commonest class (the first in the order of `classes` where several are), mean or median,
        or the labels that more than half of the rows carry.
    classes : tuple of str
    share : ndarray or None
        (K,) share of each class, or of the rows that carry each label, in training.
    words : str
        What it answers, for reports.
    """

    task: Task
    constant: Any
    classes: tuple[str, ...]
    share: Array | None
    words: str

    def predict(self, n: int) -> Array:
        """(n,) or (n, k) answers."""
        if self.task == "multilabel":
            return np.tile(np.asarray(self.constant), (n, 1))
        out = np.empty(n, dtype=object if self.task == "classification" else np.float64)
        out[:] = self.constant
        return out

    def predict_proba(self, n: int) -> Array | None:
        """(n, K) the training shares in every row; None for regression."""
        return None if self.share is None else np.tile(self.share, (n, 1))

    def answer(self, n: int) -> tuple[Array, Array | None]:
        """Both, as `isthmus.evaluate.difference` takes them."""
        return self.predict(n), self.predict_proba(n)


def majority(
    y_train: Any, *, task: Task, classes: tuple[str, ...] = (), strategy: str = "mean"
) -> Majority:
    """The constant predictor that needs no inputs at all.

    Parameters
    ----------
    y_train : array-like
        Training labels: names, (n, k) bool, or numbers.
    task : {"classification", "multilabel", "regression"}
    classes : tuple of str
        Order of the classes; default the names that occur.
    strategy : {"mean", "median"}, default="mean"
        Regression only: the mean is best for RMSE and R2, the median for MAE.

    Raises
    ------
    DataError
        Without training labels.
    UsageError
        On an unknown task or strategy.
    """
    if len(y_train) == 0:
        raise DataError("no training labels", where="y_train")
    if task == "classification":
        names = as_names(y_train, where="y_train")
        order = tuple(classes) or tuple(natural_sorted(set(names)))
        position = {name: k for k, name in enumerate(order)}
        stray = sorted(set(names) - set(order))
        if stray:
            raise UsageError(f"labels {stray[:5]} are not in `classes`", where="y_train")
        count = np.bincount([position[name] for name in names], minlength=len(order))
        best = order[int(count.argmax())]
        return Majority(task, best, order, count / count.sum(), f"always {best!r}")
    if task == "multilabel":
        share = np.asarray(y_train, dtype=bool).mean(axis=0)
        order = tuple(classes) or tuple(str(k) for k in range(len(share)))
        return Majority(task, share > 0.5, order, share, "the labels of more than half the rows")
    if task != "regression":
        raise UsageError(f"unknown task {task!r}", where="task")
    if strategy not in ("mean", "median"):
        raise UsageError(f"unknown strategy {strategy!r}", remedy="Use mean or median")
    values = np.asarray(y_train, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError("training values are missing or infinite", where="y_train")
    constant = float(np.mean(values) if strategy == "mean" else np.median(values))
    return Majority(task, constant, (), None, f"always the {strategy}, {constant:.4g}")


@dataclass(frozen=True)
class RawAnswers:
    """What a model without any pretraining answers, on the test rows that could be read.

    Parameters
    ----------
    predicted : ndarray
        (m,) names or numbers, or (m, k) bool, for `rows`.
    proba : ndarray or None
        (m, K) in the order of `classes`.
    classes : tuple of str
    rows : ndarray of int
        (m,) test rows that could be read.
    problems : tuple of Problem
        Training and test rows that could not.
    words : str
        Features and head, for reports.
    """

    predicted: Array
    proba: Array | None
    classes: tuple[str, ...]
    rows: Array
    problems: tuple[Problem, ...]
    words: str


def no_transfer(
    train: Samples | Sequence[Samples],
    y: Any,
    test: Samples,
    *,
    task: Task,
    classes: tuple[str, ...] = (),
    groups: Array | None = None,
    max_bad: float = 0.01,
    random_state: int = 0,
    workers: int | None = None,
    decoded: Decoded | None = None,
) -> tuple[Array, Array | None]:
    """Answers of a model that learned from raw features only; arguments as in `raw_answers`.

    Returns
    -------
    predicted, proba
        One row for **every** test row. The few that cannot be read (at most `max_bad`) get the
        majority answer, with a logged warning.
    """
    found = raw_answers(
        train,
        y,
        test,
        task=task,
        classes=classes,
        groups=groups,
        max_bad=max_bad,
        random_state=random_state,
        workers=workers,
        decoded=decoded,
    )
    n = len(test)
    if len(found.rows) == n:
        return found.predicted, found.proba
    lost = n - len(found.rows)
    logger.warning("no-transfer baseline: %d unreadable test rows get the majority answer", lost)
    predicted, proba = majority(y, task=task, classes=found.classes).answer(n)
    predicted[found.rows] = found.predicted
    if proba is not None and found.proba is not None:
        proba[found.rows] = found.proba
    return predicted, proba


def raw_answers(
    train: Samples | Sequence[Samples],
    y: Any,
    test: Samples,
    *,
    task: Task,
    classes: tuple[str, ...] = (),
    groups: Array | None = None,
    max_bad: float = 0.01,
    random_state: int = 0,
    workers: int | None = None,
    decoded: Decoded | None = None,
) -> RawAnswers:
    """Raw features and the same kind of regularised head, fitted on the same training rows.

    Parameters
    ----------
    train : Samples or sequence of Samples
        Training rows (source and labelled target, say); their own labels are not read.
    y : array-like
        (n,) labels of all training rows, part after part.
    test : Samples
        Rows to answer.
    task : {"classification", "multilabel", "regression"}
    classes : tuple of str
        Columns of the probabilities; default the names in `y`.
    groups : ndarray, optional
        (n,) groups of the training rows, kept together while the penalty is chosen; default the
        groups of the samples themselves.
    max_bad : float, default=0.01
        Share of unreadable rows above which it stops.
    random_state : int, default=0
    workers : int, optional
        Decoding threads.
    decoded : Decoded, optional
        Rows read by earlier calls, for folds over the same data.

    Raises
    ------
    DataError
        If too many rows cannot be read, or numbers of labels and rows differ.
    """
    parts = [train] if isinstance(train, Samples) else list(train)
    total = sum(map(len, parts))
    if len(y) != total or total == 0:
        raise DataError(f"{len(y)} labels for {total} training rows", where="y")
    target, order = _targets(y, task, classes)
    features = RawFeatures(workers=workers, decoded=decoded)
    X, rows, bad = features.fit_transform(parts)
    check_bad_share(bad, total, max_bad=max_bad)
    Z, test_rows, bad_test = features.transform(test)
    check_bad_share(bad_test, len(test), max_bad=max_bad)
    problems = (*bad, *bad_test)
    target = target[rows]
    together = _group_names(parts, groups)
    together = None if together is None else together[rows]

    if task == "classification" and len(set(target)) < 2:
        constant = majority(target, task=task, classes=order)
        predicted, proba = constant.answer(len(test_rows))
        words = f"{constant.words}: the training rows hold one class"
        return RawAnswers(predicted, proba, order, test_rows, problems, words)
    if hasattr(X, "tocsr"):
        model, words = _sparse_head(X, target, task, together, random_state)
    else:
        from isthmus.fit.heads import make_head

        name = "ridge" if task == "regression" else "logistic"
        model = make_head(name, task, random_state=random_state)
        model.fit(X, target, groups=together)
        words = f"{name} head"
    predicted, proba = _answers(model, Z, task, order)
    words = f"{features.words}, {words}"
    return RawAnswers(predicted, proba, order, test_rows, problems, words)


def _group_names(parts: Sequence[Samples], groups: Array | None) -> Array | None:
    """One group name a training row; a row without one is a group of its own."""
    if groups is None:
        if all(part.groups is None for part in parts):
            return None
        found = [np.full(len(p), None) if p.groups is None else p.groups for p in parts]
        groups = np.concatenate(found)
    elif len(groups) != sum(map(len, parts)):
        raise DataError(f"{len(groups)} groups for {sum(map(len, parts))} rows", where="groups")
    lone = [g is None or g != g for g in groups]
    return np.array([f"row {i}" if lone[i] else f"group {g}" for i, g in enumerate(groups)])


def _targets(y: Any, task: Task, classes: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    if task == "classification":
        names = as_names(y, where="y")
        return names, tuple(classes) or tuple(natural_sorted(set(names)))
    if task == "multilabel":
        matrix = np.asarray(y, dtype=bool)
        return matrix, tuple(classes) or tuple(str(k) for k in range(matrix.shape[1]))
    if task != "regression":
        raise UsageError(f"unknown task {task!r}", where="task")
    return np.asarray(y, dtype=np.float64), ()


def _sparse_head(
    X: Any, target: Array, task: Task, groups: Array | None, seed: int
) -> tuple[Any, str]:
    """A linear model on sparse rows, its penalty chosen on folds that keep groups together."""
    from sklearn.linear_model import LogisticRegression, Ridge

    from isthmus.fit.folds import folds

    def make(C: float) -> Any:
        if task == "regression":
            return Ridge(alpha=1 / C, solver="sparse_cg", tol=1e-5)
        model = LogisticRegression(C=C, max_iter=2000, tol=1e-3)
        return _PerLabel(model) if task == "multilabel" else model

    chosen = SPARSE_GRID[len(SPARSE_GRID) // 2]
    try:
        pairs = folds(
            target,
            task=task,
            groups=groups,
            n_splits=5 if X.shape[0] <= 5000 else 3,
            random_state=seed,
        )
    except DataError as error:
        logger.info("no-transfer baseline: penalty not chosen, %s", error)
        pairs = []
    if task == "classification":
        pairs = [(a, b) for a, b in pairs if len(set(target[a])) > 1]
    if pairs:
        scores = [
            np.mean([_fold_score(make(C), X, target, fit, held) for fit, held in pairs])
            for C in SPARSE_GRID
        ]
        chosen = SPARSE_GRID[int(np.argmax(scores))]
    kind = "ridge" if task == "regression" else "logistic"
    return make(chosen).fit(X, target), f"{kind} head, C = {chosen:.3g}"


def _fold_score(model: Any, X: Any, target: Array, fit: Array, held: Array) -> float:
    """Accuracy, share of right labels, or minus the squared error, on held-out rows."""
    answer = model.fit(X[fit], target[fit]).predict(X[held])
    if target.dtype == np.float64:
        return -float(np.mean((answer - target[held]) ** 2))
    return float(np.mean(answer == target[held]))


class _PerLabel:
    """One classifier a label; a label that all or no training rows carry stays constant."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, X: Any, y: Array) -> _PerLabel:
        from sklearn.base import clone

        self.models_: list[Any] = []
        for column in y.T:
            constant = column.all() or not column.any()
            self.models_.append(float(column[0]) if constant else clone(self.model).fit(X, column))
        return self

    def predict_proba(self, X: Any) -> Array:
        return np.stack(
            [
                np.full(X.shape[0], m) if isinstance(m, float) else m.predict_proba(X)[:, 1]
                for m in self.models_
            ],
            axis=1,
        )

    def predict(self, X: Any) -> Array:
        return self.predict_proba(X) > 0.5


def _answers(model: Any, Z: Any, task: Task, order: tuple[str, ...]) -> tuple[Array, Array | None]:
    """Predictions and probabilities, columns in the order of `order`."""
    if task == "regression":
        return np.asarray(model.predict(Z), dtype=np.float64), None
    proba = np.asarray(model.predict_proba(Z), dtype=np.float64)
    if task == "multilabel":
        return np.asarray(model.predict(Z), dtype=bool), proba
    out = np.zeros((len(proba), len(order)))
    for k, name in enumerate(model.classes_):
        out[:, order.index(str(name))] = proba[:, k]
    out /= out.sum(axis=1, keepdims=True)
    predicted = np.array(order, dtype=object)[out.argmax(axis=1)]
    return predicted, out
