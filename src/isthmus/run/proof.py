"""Layer 8: the proof: one opening of the sealed labels, with the baselines on the same rows.

Everything is decided and fitted before this module runs. Without a test set the chosen route and
the baselines are cross-validated instead, and the protocol says on which rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.evaluate.baseline import majority, no_transfer
from isthmus.evaluate.metrics import LOWER_IS_BETTER, MAIN_METRIC, as_json, difference, score
from isthmus.evaluate.raw import Decoded
from isthmus.fit.blend import uncalibrated
from isthmus.fit.folds import folds as make_folds
from isthmus.fit.open_set import UNKNOWN, OpenSetModel
from isthmus.run.case import Case
from isthmus.run.extract import Extracted, Part
from isthmus.run.standings import N_SPLITS, Choice, model_factory
from isthmus.select.estimate.exact import FEWEST, exact_interval
from isthmus.select.evidence import can_fold
from isthmus.select.routes.base import Labelled
from isthmus.select.stacked import Stacked
from isthmus.types import Array, Interval

Answer = tuple[Any, Array | None]  # predicted, probabilities where there are any
NO_TRANSFER, MAJORITY = "no transfer", "majority"
WORDS = {
    "image": "raw pixels",
    "text": "TF-IDF",
    "audio": "a raw spectrum",
    "table": "raw columns",
    "features": "the features themselves",
}
METRIC_NAMES = {"accuracy": "accuracy", "f1_micro": "micro F1", "mae": "mean absolute error"}


@dataclass(frozen=True)
class Answered:
    """The rows behind the score and what the chosen route said of them; never written as such.

    Parameters
    ----------
    rows : ndarray of shape (n,), int
        Positions in the part that `Proof.kind` names.
    truth, predicted : ndarray of shape (n,) or (n, k)
    proba, before : ndarray of shape (n, k), optional
        Probabilities as they are given out, and without the temperature.
    """

    rows: Array
    truth: Array
    predicted: Array
    proba: Array | None
    before: Array | None


@dataclass(frozen=True)
class Proof:
    """What was measured once everything was decided.

    Parameters
    ----------
    kind : str
        ``sealed``, ``cv-target``, ``cv-source`` or ``none``.
    protocol, outcome : str
        How, and what it says, in sentences.
    metric : str
        Name of the headline figure.
    rows, openings : int
    headline : dict of str to Interval
        Main figure of every route and baseline on the same rows.
    gains : dict of str to Interval
        Chosen route minus the other, paired; the sign is turned so that more is better.
    metrics : dict
        All figures of the chosen route.
    exact : Interval, optional
        Accuracy of the chosen route with a finite-sample interval (Clopper-Pearson, 95 %), on 20 or
        more sealed or labelled target rows.
    notes : tuple of str
    answered : Answered, optional
        What the score was made of, for the report: the labels are not opened again.
    """

    kind: str
    protocol: str
    outcome: str
    metric: str
    rows: int = 0
    openings: int = 0
    headline: dict[str, Interval] = field(default_factory=dict)
    gains: dict[str, Interval] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    exact: Interval | None = None
    notes: tuple[str, ...] = ()
    answered: Answered | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON form; `column` is what a table calls the figure."""
        return {
            "kind": self.kind,
            "protocol": self.protocol,
            "outcome": self.outcome,
            "metric": METRIC_NAMES[self.metric],
            "column": f"{METRIC_NAMES[self.metric]} ({_where(self.kind)})",
            "rows": self.rows,
            "openings": self.openings,
            "headline": {k: v.as_dict() for k, v in self.headline.items()},
            "gains": {k: v.as_dict() for k, v in self.gains.items()},
            "metrics": as_json(self.metrics),
            "exact": None if self.exact is None else self.exact.as_dict(),
            "notes": list(self.notes),
        }


def prove(
    case: Case,
    features: Extracted,
    choice: Choice,
    *,
    head: str | None,
    seed: int,
    others: Mapping[str, Answer] | None = None,
) -> Proof:
    """Measure the chosen route, the other routes and the baselines on the same rows.

    `others` are further answers for the rows of a sealed test, by name.
    """
    notes: list[str] = []
    route = choice.route
    if case.sealed is not None and features.test is not None:
        part = features.test
        answers: dict[str, Answer] = {
            name: answer_of(model, part.X) for name, model in choice.models.items()
        }
        own = features.labelled or features.source
        assert own is not None
        answers |= {**_baselines(case, own, part, seed, notes), **(others or {})}
        sealed = case.sealed.take(part.rows)
        y = sealed.open("final score of all routes and baselines, after the verdict")
        openings = sealed.openings
        kind, groups = "sealed", part.samples.groups
        where, before = np.arange(len(y)), uncalibrated(choice.model, part.X)
    else:
        scored = _cross_validated(case, features, choice, head, seed, notes)
        if scored is None:
            why = "There is no test set, and too few labelled rows to cross-validate."
            if route.by_hand:
                why = (
                    "There is no test set, and too few labelled target rows to cross-validate; "
                    "figures on source rows would say nothing about a method that adapts to the "
                    "target."
                )
            return Proof(
                "none",
                why,
                "Nothing could be measured: give --test, or more labelled rows.",
                MAIN_METRIC[case.task],
                notes=tuple(notes),
            )
        kind, y, groups, answers, where, before = scored
        openings = 0
    chosen = choice.verdict.decision
    unknown = None
    if isinstance(choice.model, OpenSetModel):
        if kind == "sealed":
            unknown = UNKNOWN
        else:
            notes.append("The figures are those of the model before it learnt to abstain.")
    found = _proof(case, chosen, kind, y, groups, answers, openings, seed, notes, unknown)
    predicted, proba = answers[chosen]
    return replace(found, answered=Answered(where, y, np.asarray(predicted), proba, before))


def _proof(
    case: Case,
    chosen: str,
    kind: str,
    y: Array,
    groups: Array | None,
    answers: dict[str, Answer],
    openings: int,
    seed: int,
    notes: list[str],
    unknown: str | None = None,
) -> Proof:
    metric = MAIN_METRIC[case.task]
    common: dict[str, Any] = {
        "classes": case.classes,
        "task": case.task,
        "groups": groups,
        "random_state": seed,
    }
    metrics = score(
        y, predicted=answers[chosen][0], proba=answers[chosen][1], unknown=unknown, **common
    )
    if unknown is not None:  # from here on as one more class, which only the chosen route answers
        y = np.where(np.isin(np.asarray(y).astype(str), case.classes), y, unknown)
        common["classes"] = (*case.classes, unknown)
        answers = {name: (said, None) for name, (said, _) in answers.items()}
    headline = {chosen: metrics[metric]}
    gains = {}
    for name, (predicted, proba) in answers.items():
        if name == chosen:
            continue
        headline[name] = score(y, predicted=predicted, proba=proba, **common)[metric]
        gap = difference(
            y, ours=answers[chosen], baseline=(predicted, proba), metric=metric, **common
        )
        gains[name] = _turned(gap) if metric in LOWER_IS_BETTER else gap
    outcome = _outcome(case, chosen, kind, len(y), headline, gains, metric)
    return Proof(
        kind,
        _protocol(kind, openings, groups),
        outcome,
        metric,
        len(y),
        openings,
        headline,
        gains,
        metrics,
        _exact(case, kind, y, answers[chosen][0], groups),
        (*notes, *metrics["notes"]),
    )


def _exact(case: Case, kind: str, y: Array, said: Array, groups: Array | None) -> Interval | None:
    """The accuracy with an interval that holds for any number of rows, where it is to be had.

    Rows that come in groups are no independent draws. Labelled target rows count by the answers of
    fits without them; that the choice has seen them, and what drawing them per class means, is
    said beside the figure.
    """
    if kind == "cv-source" or case.task != "classification" or groups is not None:
        return None
    if len(y) < FEWEST:
        return None
    found = exact_interval(np.asarray(y) == np.asarray(said), level=0.95)
    if kind == "sealed":
        return found
    how = f"{found.how}, each answered by a fit without it; the choice saw them"
    counts = np.unique(np.asarray(y).astype(str), return_counts=True)[1]
    if len(set(counts.tolist())) == 1:
        how += "; as many of each class: the accuracy if all were as frequent"
    return replace(found, how=how)


def answer_of(model: Any, X: Array) -> Answer:
    """What a model says of rows of features."""
    return model.predict(X), None if model.task == "regression" else model.predict_proba(X)


def _baselines(
    case: Case,
    training: Part,
    test: Part,
    seed: int,
    notes: list[str],
    decoded: Decoded | None = None,
) -> dict[str, Answer]:
    """Majority and no transfer: neither a pretrained model nor, where it can be, the source.

    They learn from the labelled target rows; without any there is only the source to learn from.
    """
    y = training.samples.labels
    found: dict[str, Answer] = {}
    found[MAJORITY] = majority(y, task=case.task, classes=case.classes).answer(len(test.X))
    try:
        found[NO_TRANSFER] = no_transfer(
            training.samples,
            y,
            test.samples,
            task=case.task,
            classes=case.classes,
            groups=training.samples.groups,
            random_state=seed,
            decoded=decoded,
        )
    except IsthmusError as error:  # a missing baseline is said, and does not cost the run
        notes.append(f"The no-transfer baseline could not be made: {error}")
    return found


def _cross_validated(
    case: Case, features: Extracted, choice: Choice, head: str | None, seed: int, notes: list[str]
) -> tuple[str, Array, Array | None, dict[str, Answer], Array, Array | None] | None:
    """Out-of-fold answers on the labelled target rows, or else on the source rows.

    Kind, truth, groups, answers by name, positions, and the route's probabilities without a
    temperature. The blend has answered these rows while it was made, on the same folds.
    """
    route, domains = choice.route, choice.domains
    kind, part, rows = "cv-target", features.labelled, domains.target
    if rows is None or not can_fold(rows, task=case.task):
        kind, part, rows = "cv-source", features.source, domains.source
        if route.by_hand:  # a model of the adapted target says nothing of left-out source rows
            return None
        if rows is None or "source" not in route.uses or not can_fold(rows, task=case.task):
            return None
    assert part is not None
    new_model = model_factory(case, head=head, seed=seed)
    decoded = Decoded()  # each fold's baseline reads the same rows
    parts: dict[str, list[Answer]] = {}
    order: list[Array] = []
    raw: list[Array | None] = []
    held: tuple[Array, ...] = ()
    if kind == "cv-target" and isinstance(route, Stacked) and route.found is not None:
        held = route.found.held
    folds = make_folds(
        rows.y, task=case.task, groups=rows.groups, n_splits=N_SPLITS, random_state=seed
    )
    for f, (train, test) in enumerate(folds):
        model, answers = None, dict[str, Answer]()
        if held:
            answers[route.name] = np.asarray(case.classes)[held[f].argmax(axis=1)], held[f]
        elif kind == "cv-target":
            model = route.fit(domains.with_target(train), new_model)
        else:
            model = _fit(rows.take(train), new_model)
        if model is not None:
            answers[route.name] = answer_of(model, rows.X[test])
        answers |= _baselines(case, part.take(train), part.take(test), seed, notes, decoded)
        for name, answer in answers.items():
            parts.setdefault(name, []).append(answer)
        order.append(test)
        raw.append(None if model is None else uncalibrated(model, rows.X[test]))
    where = np.concatenate(order)
    whole = {
        name: (
            np.concatenate([p for p, _ in got]),
            None if got[0][1] is None else np.concatenate([q for _, q in got if q is not None]),
        )
        for name, got in parts.items()
        if len(got) == len(order)
    }
    plain = [p for p in raw if p is not None]
    before = np.concatenate(plain) if len(plain) == len(raw) else None
    groups = None if rows.groups is None else rows.groups[where]
    return kind, rows.y[where], groups, whole, where, before


def _fit(rows: Labelled, new_model: Any) -> Any:
    return new_model().fit(rows.X, rows.y, groups=rows.groups)


def _turned(gap: Interval) -> Interval:
    return Interval(-gap.value, -gap.high, -gap.low, gap.level, gap.how)


def _where(kind: str) -> str:
    return {
        "sealed": "sealed test",
        "cv-target": "cross-validation",
        "cv-source": "on source rows",
        "none": "not measured",
    }[kind]


def _protocol(kind: str, openings: int, groups: Array | None) -> str:
    unit = "" if groups is None else f", resampled over {len(set(map(str, groups)))} groups"
    times = "once" if openings == 1 else f"{openings} times"
    return {
        "sealed": f"Sealed test labels, opened {times}, after the choice{unit}.",
        "cv-target": f"{N_SPLITS}-fold cross-validation on the labelled target rows{unit}; "
        "the same rows led the choice, so the figure of a chosen route is slightly optimistic.",
        "cv-source": f"{N_SPLITS}-fold cross-validation on the source rows{unit}; "
        "no target row is scored, so this says nothing about the gap between the domains.",
    }[kind]


def _outcome(
    case: Case,
    chosen: str,
    kind: str,
    n: int,
    headline: dict[str, Interval],
    gains: dict[str, Interval],
    metric: str,
) -> str:
    """Did transfer buy anything over no transfer? In one sentence, with the interval."""
    rows = "labelled target" if case.labelled is not None and kind != "cv-source" else "source"
    share = metric not in LOWER_IS_BETTER
    figure = headline[chosen]
    text = (
        figure.percent() if share else f"{figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}]"
    )
    sentence = f"{chosen}: {METRIC_NAMES[metric]} {text} on {n} {_where(kind)} rows"
    sentence = sentence.replace("on source rows rows", "source rows, cross-validated")
    gap = gains.get(NO_TRANSFER)
    raw = f"{WORDS[case.target.modality]}, {rows} rows only"
    if gap is None or not np.isfinite(gap.value):
        return sentence + "; there is no no-transfer figure to compare with."
    scale, unit = (100, " points") if share else (1, "")
    by = f"{scale * gap.value:+.3g}{unit} [{scale * gap.low:+.3g}, {scale * gap.high:+.3g}]"
    if gap.low > 0:
        return f"{sentence}; transfer bought {by} over no transfer ({raw})."
    if gap.high < 0:
        return f"{sentence}; transfer HURT: {by} against no transfer ({raw})."
    return f"{sentence}; no proof that transfer helped: {by} over no transfer ({raw})."
