"""Layer 6: evidence for a route from the labelled target rows alone: repeated cross-validation.

Every route is scored on the same folds, so their rows can be compared in pairs. A route that uses
the source sees all of it in every fold; of the target it sees the training folds only.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.select.routes.base import Domains, Labelled, ModelFactory, Route
from isthmus.types import Array, Task

if TYPE_CHECKING:
    from isthmus.fit.blend import Model

logger = logging.getLogger(__name__)

Folds = list[tuple[Array, Array]]
COVERED = 0.75  # share of the labelled rows
TOO_FEW = "too few labelled target rows to score it on"


@dataclass(frozen=True)
class Evidence:
    """What is known of one route before any test label is opened.

    Parameters
    ----------
    route : str
    status : str
        ``scored``, ``unscored`` (applicable, but nothing to score it on), ``refused``,
        ``not reached`` (time) or ``failed``.
    reason : str
        Why it is not scored; empty when it is.
    fold_scores : ndarray of shape (n_folds,), optional
        Mean row score in each fold; higher is better.
    row_scores : ndarray of shape (n_labelled_target,), optional
        Row score averaged over the repeats.
    seconds : float
        Wall time that the scoring took; never part of a result that must repeat.
    """

    route: str
    status: str
    reason: str = ""
    fold_scores: Array | None = None
    row_scores: Array | None = None
    seconds: float = 0.0


def row_scores(y: Array, predicted: Array, task: Task) -> Array:
    """Score of each row, higher is better: 1/0 correct; share of right labels; minus |error|.

    Returns
    -------
    ndarray of shape (n,)
    """
    if task == "regression":
        return -np.abs(np.asarray(y, dtype=float) - np.asarray(predicted, dtype=float))
    if task == "multilabel":
        return (np.asarray(y) == np.asarray(predicted)).mean(axis=1)
    return np.array([a == b for a, b in zip(y, predicted, strict=True)], dtype=float)


def cross_validate(
    route: Route,
    domains: Domains,
    new_model: ModelFactory,
    folds: Folds,
    *,
    task: Task,
    deadline: float | None = None,
    models: list[Model] | None = None,
) -> Evidence:
    """Score one route on folds of the labelled target rows.

    Parameters
    ----------
    folds : list of (train, test)
        Positions into ``domains.target``; empty when there is nothing to score on.
    deadline : float, optional
        `time.monotonic` value after which no further fold is started.
    models : list, optional
        Receives the fitted model of each fold.

    Returns
    -------
    Evidence
        A refusal or failure of the route is in its status, with the reason; other routes go on.
    """
    start = time.monotonic()

    def done(status: str, reason: str = "", **scores: Array) -> Evidence:
        return Evidence(route.name, status, reason, seconds=time.monotonic() - start, **scores)

    refusal = route.refuses(domains)
    if refusal:
        return done("refused", refusal)
    if domains.target is None:
        return done("unscored", "there are no labelled target rows to score it on")
    if not folds:
        return done("unscored", TOO_FEW)
    target = domains.target
    total, count = np.zeros(len(target)), np.zeros(len(target))
    fold_scores = []
    fixed = None  # a route that ignores the target labels is fitted once for all folds
    try:
        for train, test in folds:
            if deadline is not None and time.monotonic() > deadline:
                return done("not reached", "the time budget ended before it was scored")
            if "target" in route.uses:
                model = route.fit(domains.with_target(train), new_model)
            else:
                model = fixed = fixed or route.fit(domains, new_model)
            scores = row_scores(target.y[test], model.predict(target.X[test]), task)
            total[test] += scores
            count[test] += 1
            if models is not None:
                models.append(model)
            fold_scores.append(scores.mean())
    except IsthmusError as error:  # reported on the leaderboard; the other routes go on
        logger.warning("route %s failed: %s", route.name, error)
        return done("failed", str(error))
    return done(
        "scored", fold_scores=np.array(fold_scores), row_scores=total / np.maximum(count, 1)
    )


def can_fold(target: Labelled | None, *, task: Task, least: int = 2) -> bool:
    """Whether cross-validation on these rows says anything.

    Two classes need `least` rows each (or as many groups in all), and such classes `COVERED` of
    the rows: a class of one row is absent from training where that row is tested, which few
    rare classes may do to the score and many may not.
    """
    if target is None or len(target) < 4:
        return False
    if target.groups is not None and len(set(target.groups)) < least:
        return False
    if task != "classification":
        return len(target) >= 10
    _, counts = np.unique(target.y.astype(str), return_counts=True)
    enough = counts[counts >= least]
    return len(enough) > 1 and int(enough.sum()) >= COVERED * len(target)
