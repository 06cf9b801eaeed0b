"""Layer 8: after a run: which target rows to label next, and what that should gain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from isthmus.run.case import Case
from isthmus.run.extract import Extracted
from isthmus.run.label_next_csv import write_label_next, write_learning_curve
from isthmus.run.standings import Choice
from isthmus.select.label_next import label_next
from isthmus.select.learning_curve import LearningCurve, learning_curve, nothing_known
from isthmus.select.routes.base import ModelFactory
from isthmus.select.routes.pooled import Pooled
from isthmus.select.routes.target_only import TargetOnly
from isthmus.types import Array

COUNT = 50


def write_next_labels(
    folder: str | Path,
    case: Case,
    features: Extracted,
    choice: Choice,
    new_model: ModelFactory,
    *,
    seed: int = 0,
) -> str:
    """Write ``label_next.csv``, and ``learning_curve.csv`` where target labels were given.

    Parameters
    ----------
    folder : path
        Of the saved run.

    Returns
    -------
    str
        One sentence for a person; empty where there is nothing to label.
    """
    if case.task != "classification" or len(features.target.X) == 0:
        return ""
    rows = np.asarray(features.target.X)
    taken = _known(features)
    free = len(rows) - len(taken)
    if free < 1:
        return ""
    chosen = label_next(
        choice.model.predict_proba(rows),
        rows,
        known=taken,
        count=min(COUNT, free),
        groups=features.target.samples.groups,
        random_state=seed,
    )
    write_label_next(folder, chosen, features.target.samples)
    curve = _curve(case, choice, new_model, seed)
    if choice.domains.target is not None:
        write_learning_curve(folder, curve)
    return curve.sentence


def _known(features: Extracted) -> Array:
    """Positions of the labelled target rows among all target rows."""
    if features.labelled is None:
        return np.empty(0, dtype=np.intp)
    place = {row_id: i for i, row_id in enumerate(features.target.samples.ids)}
    found = [place.get(row_id, -1) for row_id in features.labelled.samples.ids]
    return np.array([i for i in found if i >= 0], dtype=np.intp)


def _curve(case: Case, choice: Choice, new_model: ModelFactory, seed: int) -> LearningCurve:
    domains = choice.domains
    if domains.target is None:
        return nothing_known(COUNT)
    known = domains.target
    route = TargetOnly() if domains.source is None else Pooled()

    def fit(rows: Array) -> Callable[[Array], Array]:
        model = route.fit(domains.with_target(rows), new_model)
        return lambda others: np.asarray(model.predict(known.X[others]))

    return learning_curve(
        fit, known.y, task=case.task, groups=known.groups, add=COUNT, n_repeats=1, random_state=seed
    )
