"""Layer 8: every route on the same folds; the leaderboard, the verdict, the model that serves."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.evaluate.intervals import cv_difference, mean_interval
from isthmus.fit.blend import Model
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import processor_for
from isthmus.fit.folds import folds as make_folds
from isthmus.fit.heads import HEADS, make_head
from isthmus.fit.model import FeatureModel
from isthmus.run.case import Case
from isthmus.run.extract import Extracted
from isthmus.select.blended import Blend, Blended, why_not
from isthmus.select.evidence import Evidence, Folds, can_fold, cross_validate
from isthmus.select.guard import USABLE, Standing, admit, decide, decide_unlabelled
from isthmus.select.prior import choice_prior
from isthmus.select.routes.base import Domains, ModelFactory, Route, discover
from isthmus.select.stacked import Stack, Stacked
from isthmus.types import Interval, Verdict

UNITS = {
    "classification": "accuracy",
    "multilabel": "label accuracy",
    "regression": "negative mean absolute error",
}
N_SPLITS = 5
NO_LABELS = "there are no labelled target rows to score it on"


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
    routes : list of Route
    domains : Domains
        What the routes were given.
    blend : Blend or Stack, optional
        What the automatic choice found.
    notes : tuple of str
        Why there is none.
    evidence : tuple of Evidence
        What the leaderboard was made of, on folds that depend on the labelled rows and the seed
        alone; routes by hand are left out.
    """

    standings: list[Standing]
    verdict: Verdict
    models: dict[str, Model]
    folds: str
    seconds: dict[str, float]
    routes: list[Route]
    domains: Domains
    blend: Blend | Stack | None = None
    notes: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def route(self) -> Route:
        """The route that serves."""
        return next(r for r in self.routes if r.name == self.verdict.decision)

    @property
    def model(self) -> Model:
        """The model that serves."""
        return self.models[self.verdict.decision]


def model_factory(case: Case, *, head: str | None, seed: int) -> ModelFactory:
    """A maker of fresh, unfitted models: processed features, one head, calibrated.

    Without a name the head is logistic for classes and ridge for numbers.
    """
    name = head or ("ridge" if case.task == "regression" else "logistic")
    kind = HEADS[case.task].get(name)
    seeded = kind is not None and "random_state" in kind().get_params()
    params = {"random_state": seed} if seeded else {}
    make_head(name, case.task, **params)  # an unknown name is refused before the work

    def new_model() -> FeatureModel:
        return FeatureModel(
            processor=processor_for(case.target.modality),
            head=make_head(name, case.task, **params),
            temperature=None if case.task == "regression" else Temperature(),
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
    methods: list[Route] | None = None,
    automatic: bool = False,
    deadline: float | None = None,
    deep: bool | None = None,
) -> Choice:
    """Score the routes, decide, and fit every usable route on all that it may see.

    Parameters
    ----------
    methods : list of Route, optional
        Routes named by hand; they join those of the folder.
    automatic : bool, default=False
        Let the automatic choice take part (`isthmus.select.blended`).
    deep : bool, optional
        Whether it tries trained networks too; default: `isthmus.select.rung.asked_for`.

    Raises
    ------
    IsthmusError
        If the only method that was named fails: its own reason.
    """
    named = methods or []
    domains = features.domains(whole=bool(named))
    own = discover()
    folds, how = evidence_folds(case, domains, own, seed)
    seconds: dict[str, float] = {}
    models: dict[str, Model] = {}

    # What the automatic choice needs again: of each fold, then of all rows.
    lent: dict[str, list[Model]] = {"target-only": [], "pooled": []}

    def score(route: Route) -> Evidence:
        found = cross_validate(
            route,
            domains,
            new_model,
            folds,
            task=case.task,
            deadline=deadline,
            models=lent.get(route.name),
        )
        seconds[route.name] = found.seconds
        return found

    def fit(route: Route) -> None:
        start = time.monotonic()
        models[route.name] = route.fit(domains, new_model)
        seconds[route.name] += time.monotonic() - start

    evidence = [score(route) for route in own]
    reference = next(
        (e for e in evidence if e.route == "target-only" and e.status == "scored"), None
    )
    notes: tuple[str, ...] = ()
    found: Blend | Stack | None = None
    if automatic:
        for route, shown in zip(own, evidence, strict=True):
            if route.name in lent and shown.status in ("scored", "unscored"):
                fit(route)
                lent[route.name].append(models[route.name])
        auto, notes = automatic_route(
            case, domains, folds, lent=lent, seed=seed, deadline=deadline, deep=deep
        )
        if auto is not None:
            start = time.monotonic()
            wide = features.domains(whole=True)
            models[auto.name] = auto.fit(wide, new_model)
            seconds[auto.name] = time.monotonic() - start
            found = auto.found
            own = [*own, auto]
            evidence.append(
                found.evidence
                if isinstance(found, Stack)
                else Evidence(auto.name, "unscored", NO_LABELS)
            )
    standings = [_standing(e, reference, features, seed) for e in evidence]
    mixed = found.evidence if isinstance(found, Stack) else None
    plain = sum(e.status == "scored" and e is not mixed and e is not reference for e in evidence)
    standings = [
        replace(line, over_blend=_gap(e, mixed, 1 - 0.05 / max(plain, 1)))
        for line, e in zip(standings, evidence, strict=True)
    ]
    if isinstance(found, Blend):
        line = replace(standings[-1], expected=found.gain, estimate=found.accuracy)
        standings[-1] = line
        verdict = decide(standings[:-1], unit=UNITS[case.task])
        verdict = decide_unlabelled(verdict, line, least=choice_prior().least)
    else:
        verdict = decide(standings, unit=UNITS[case.task])
    chosen = next((e for e in evidence if e.route == verdict.decision), None)
    offered: list[Standing] = []
    for route in named:
        shown = score(route)
        try:
            if shown.status in ("failed", "refused") and len(named) == 1:
                fit(route)  # once more, for its own words
            if shown.status == "unscored" and len(named) > 1 and over(deadline):
                reason = "the time budget ended before it was fitted"
                shown = Evidence(route.name, "not reached", reason, seconds=shown.seconds)
            if shown.status in ("scored", "unscored"):
                fit(route)
        except IsthmusError as error:
            if len(named) == 1:
                raise
            shown = Evidence(route.name, "failed", str(error), seconds=shown.seconds)
        route.forget()
        offered.append(_standing(shown, reference, features, seed, chosen=chosen, count=len(named)))
    verdict = admit(verdict, offered, unit=UNITS[case.task])
    for route, line in zip([*own, *named], [*standings, *offered], strict=True):
        wanted = line.status in ("scored", "unscored") or route.name == verdict.decision
        if wanted and line.status in USABLE and route.name not in models:
            fit(route)
    return Choice(
        [*standings, *offered],
        verdict,
        models,
        how,
        seconds,
        [*own, *named],
        domains,
        found,
        notes,
        tuple(evidence),
    )


def automatic_route(
    case: Case,
    domains: Domains,
    folds: Folds,
    *,
    lent: dict[str, list[Model]] | None = None,
    seed: int = 0,
    deadline: float | None = None,
    deep: bool | None = None,
) -> tuple[Blended | Stacked | None, tuple[str, ...]]:
    """The automatic choice as a route, or a note on why there is none.

    `lent` are models that it need not fit again, by route: of each fold, then of all rows.
    """
    reason = why_not(task=case.task, source=domains.source is not None, target_rows=len(domains.Xt))
    if reason is not None:
        return None, (f"No automatic choice: {reason}.",)
    if domains.target is not None:
        return Stacked(folds, fitted=lent, seed=seed, deadline=deadline, deep=deep), ()
    return Blended(seed=seed, deadline=deadline, deep=deep), ()


def deep_untried(case: Case, choice: Choice, *, deep: bool | None, automatic: bool) -> list[str]:
    """A sentence for the notes where networks were asked for and not one was tried."""
    if not deep:
        return []
    if choice.blend is not None:
        rung = choice.blend.networks
        why = None if rung.tried else rung.why.partition(": ")[2]
    elif automatic:
        rows, taught = len(choice.domains.Xt), choice.domains.source is not None
        why = why_not(task=case.task, source=taught, target_rows=rows)
        why = f"there is no automatic choice ({why})"
    else:
        why = "the automatic choice is turned off by --method"
    return [] if why is None else [f"Nothing of --deep was tried: {why}."]


def over(deadline: float | None) -> bool:
    """Whether the time is up."""
    return deadline is not None and time.monotonic() > deadline


def evidence_folds(
    case: Case, domains: Domains, routes: list[Route], seed: int
) -> tuple[Folds, str]:
    """Folds of the labelled target rows, and how the evidence is made, in words."""
    if domains.target is None:
        return [], "none: there are no labelled target rows"
    possible = any(route.refuses(domains) is None for route in routes)
    if not can_fold(domains.target, task=case.task) or not possible:
        short = "" if case.task == "regression" else " of a class"
        return [], f"none: too few labelled target rows{short}"
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
    return folds, how + f"target rows, {repeats} repeat{'s' if repeats > 1 else ''}"


def _standing(
    evidence: Evidence,
    reference: Evidence | None,
    features: Extracted,
    seed: int,
    *,
    chosen: Evidence | None = None,
    count: int = 0,
) -> Standing:
    """The leaderboard's line; `chosen` is what a method by hand, one of `count`, has to beat."""
    by_hand = count > 0
    if evidence.row_scores is None or evidence.fold_scores is None:
        return Standing(evidence.route, evidence.status, evidence.reason, by_hand=by_hand)
    assert features.labelled is not None
    groups = features.labelled.samples.groups
    score = mean_interval(np.asarray(evidence.row_scores), groups=groups, random_state=seed)
    return Standing(
        evidence.route,
        evidence.status,
        evidence.reason,
        score,
        _gap(evidence, reference),
        by_hand,
        _gap(evidence, chosen, 1 - 0.05 / max(count, 1)) if by_hand else None,
    )


def _gap(evidence: Evidence, other: Evidence | None, level: float = 0.95) -> Interval | None:
    """Paired difference to another route on the same folds."""
    if other is None or other is evidence:
        return None
    if evidence.fold_scores is None or other.fold_scores is None:
        return None
    gaps = evidence.fold_scores - other.fold_scores
    return cv_difference(gaps, test_fraction=1 / N_SPLITS, level=level)
