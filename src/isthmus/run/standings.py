"""Layer 8: every route on the same folds; the leaderboard, the verdict, the model that serves."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from isthmus.evaluate.intervals import cv_difference, mean_interval
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.folds import folds as make_folds
from isthmus.fit.heads import HEADS, make_head
from isthmus.fit.model import FeatureModel
from isthmus.run.case import Case
from isthmus.run.extract import Extracted
from isthmus.select.evidence import Evidence, can_fold, cross_validate
from isthmus.select.guard import Standing, decide
from isthmus.select.routes.base import ModelFactory, discover
from isthmus.types import Verdict

UNITS = {
    "classification": "accuracy",
    "multilabel": "label accuracy",
    "regression": "negative mean absolute error",
}
N_SPLITS = 5


@dataclass(frozen=True)
class Choice:
    """The leaderboard, the verdict and the fitted model of every usable route.

    Parameters
    ----------
    standings : list of Standing
    verdict : Verdict
    models : dict of str to FeatureModel
        Fitted on all rows that a route may use; ``models[verdict.decision]`` serves.
    folds : str
        How the evidence was made, in words.
    seconds : dict of str to float
        Wall time of scoring and fitting each route; never part of a result that must repeat.
    """

    standings: list[Standing]
    verdict: Verdict
    models: dict[str, FeatureModel]
    folds: str
    seconds: dict[str, float]

    @property
    def model(self) -> FeatureModel:
        """The model that serves."""
        return self.models[self.verdict.decision]


def model_factory(case: Case, *, head: str | None, seed: int) -> ModelFactory:
    """A maker of fresh, unfitted models: processed features, one head, calibrated.

    Features of a network are scaled to unit length, columns are standardised (docs/log.md has the
    figures behind that).

    Without a name the head is logistic for classes and ridge for numbers.
    """
    name = head or ("ridge" if case.task == "regression" else "logistic")
    columns = case.target.modality in ("table", "features")
    kind = HEADS[case.task].get(name)
    seeded = kind is not None and "random_state" in kind().get_params()
    params = {"random_state": seed} if seeded else {}
    make_head(name, case.task, **params)  # an unknown name is refused before the work

    def new_model() -> FeatureModel:
        return FeatureModel(
            processor=FeatureProcessor(standardize=columns, l2=not columns),
            head=make_head(name, case.task, **params),
            task=case.task,
            classes=case.classes,
            random_state=seed,
        )

    return new_model


def choose(
    case: Case,
    features: Extracted,
    new_model: ModelFactory,
    *,
    seed: int,
    deadline: float | None = None,
) -> Choice:
    """Score the routes, decide, and fit every usable route on all that it may see."""
    domains = features.domains()
    routes = discover()
    possible = [route for route in routes if route.refuses(domains) is None]
    folds, how = [], "none: there are no labelled target rows"
    if domains.target is not None:
        how = "none: too few labelled target rows of some class"
        if can_fold(domains.target, task=case.task) and len(possible) > 0:
            repeats = 3 if len(domains.target) <= 200 else 1
            folds = make_folds(
                domains.target.y,
                task=case.task,
                groups=domains.target.groups,
                n_splits=N_SPLITS,
                n_repeats=repeats,
                random_state=seed,
            )
            kind = "grouped, " if domains.target.groups is not None else ""
            how = f"{kind}{N_SPLITS}-fold cross-validation on {len(domains.target)} labelled "
            how += f"target rows, {repeats} repeat{'s' if repeats > 1 else ''}"
    evidence = [
        cross_validate(route, domains, new_model, folds, task=case.task, deadline=deadline)
        for route in routes
    ]
    reference = next(
        (e for e in evidence if e.route == "target-only" and e.status == "scored"), None
    )
    standings = [_standing(e, reference, features, seed) for e in evidence]
    verdict = decide(standings, unit=UNITS[case.task])
    models, seconds = {}, {}
    for route, e in zip(routes, evidence, strict=True):
        seconds[route.name] = e.seconds
        if e.status in ("scored", "unscored") or route.name == verdict.decision:
            start = time.monotonic()
            models[route.name] = route.fit(domains, new_model)
            seconds[route.name] += time.monotonic() - start
    return Choice(standings, verdict, models, how, seconds)


def _standing(
    evidence: Evidence, reference: Evidence | None, features: Extracted, seed: int
) -> Standing:
    if evidence.row_scores is None or evidence.fold_scores is None:
        return Standing(evidence.route, evidence.status, evidence.reason)
    assert features.labelled is not None
    groups = features.labelled.samples.groups
    gap = None
    if reference is not None and reference is not evidence and reference.fold_scores is not None:
        gap = cv_difference(
            evidence.fold_scores - reference.fold_scores, test_fraction=1 / N_SPLITS
        )
    score = mean_interval(np.asarray(evidence.row_scores), groups=groups, random_state=seed)
    return Standing(evidence.route, evidence.status, evidence.reason, score, gap)
