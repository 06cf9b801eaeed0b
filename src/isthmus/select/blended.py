"""Layer 6: the automatic choice as a route: every candidate, weighed by what other tasks taught.

Choosing the one candidate that looks best hurts as often as it helps; a mean whose weights follow
the expected gain, less how far a candidate may fall below it, hardly ever does (docs/log.md has
the figures). Source-only is always among the candidates and its weight is what caution buys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.fit.blend import BlendModel
from isthmus.fit.model import FeatureModel
from isthmus.fit.threads import calmly
from isthmus.select.bench import Bench, drawn
from isthmus.select.candidates import candidates
from isthmus.select.class_gap import class_gap, told
from isthmus.select.descriptors import TASK, blend_row, columns
from isthmus.select.prior import ChoicePrior, choice_prior
from isthmus.select.routes.base import Domains, ModelFactory, Route
from isthmus.select.trials import halved, try_all, weigh
from isthmus.select.witnesses import heard, statements
from isthmus.types import Array, Interval, Task

logger = logging.getLogger(__name__)

NAME = "blend"
SMALLEST = 0.01  # weight below which a candidate is not kept: it moves no prediction, but is saved
MOST = 20_000  # rows of a side that the candidates are fitted on


@dataclass(frozen=True)
class Line:
    """One candidate of the choice.

    Parameters
    ----------
    name, family : str
    weight : float
        In the blend; 0 where it was dropped or failed.
    gain, downside : float or None
        Expected accuracy over source-only, and how far below that it may fall.
    reason : str
        Why it has no figures.
    evidence : dict of str to float
        Its own descriptors, no label needed.
    seconds : float
    """

    name: str
    family: str
    weight: float = 0.0
    gain: float | None = None
    downside: float | None = None
    reason: str = ""
    evidence: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON form without times, which differ from run to run."""

        def short(value: float | None) -> float | None:
            return None if value is None else round(float(value), 4)

        return {
            "candidate": self.name,
            "family": self.family,
            "weight": short(self.weight),
            "expected_gain": short(self.gain),
            "downside": short(self.downside),
            "reason": self.reason,
            "evidence": {name: short(value) for name, value in self.evidence.items()},
        }


@dataclass(frozen=True)
class Blend:
    """What the choice found.

    Parameters
    ----------
    model : BlendModel
    lines : tuple of Line
        In the order in which the candidates were tried.
    gain : Interval
        Expected accuracy of the blend over source-only; 90 %.
    accuracy : Interval
        Estimated accuracy on the target rows; 90 %, no label used.
    task : dict of str to float
        Descriptors of the pair.
    validators : tuple of dict
        What each label-free validator would pick, or why it has no say.
    classes : dict
        Classes that only one side seems to have (`isthmus.select.class_gap`); empty where that
        could not be looked for.
    notes : tuple of str
    """

    model: BlendModel
    lines: tuple[Line, ...]
    gain: Interval
    accuracy: Interval
    task: dict[str, float]
    validators: tuple[dict[str, Any], ...]
    classes: dict[str, Any]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "expected_gain": self.gain.as_dict(),
            "estimated_accuracy": self.accuracy.as_dict(),
            "diagnosis": {name: round(value, 4) for name, value in self.task.items()},
            "candidates": [line.as_dict() for line in self.lines],
            "validators": list(self.validators),
            "classes": self.classes,
            "notes": list(self.notes),
        }


class Blended(Route):
    """All candidates on the shared features, averaged with learned weights.

    Parameters
    ----------
    seed : int, default=0
    deadline : float, optional
        `time.monotonic` value after which no further candidate is started.
    prior : ChoicePrior, optional
        Default: the table of this package.
    """

    name = NAME
    uses = frozenset({"source"})

    def __init__(
        self, *, seed: int = 0, deadline: float | None = None, prior: ChoicePrior | None = None
    ) -> None:
        self.seed, self.deadline, self.prior = seed, deadline, prior
        self.found: Blend | None = None

    def fit(self, domains: Domains, new_model: ModelFactory) -> BlendModel:
        """Fit on what the domains hold; what was found stays in `found`."""
        with calmly(domains.Xt.size):
            self.found = blend(
                domains, new_model, seed=self.seed, deadline=self.deadline, prior=self.prior
            )
        return self.found.model


def why_not(*, task: Task, source: bool, target_rows: int) -> str | None:
    """Why there is no automatic choice, or None."""
    if task != "classification":
        return f"it chooses among classifiers, and this task is {task}"
    if not source:
        return "there are no labelled source rows to carry over"
    if target_rows < 10:
        return f"{target_rows} target rows are too few to see how the domains differ"
    return None


def blend(
    domains: Domains,
    new_model: ModelFactory,
    *,
    seed: int = 0,
    deadline: float | None = None,
    prior: ChoicePrior | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Blend:
    """Try the candidates, cheap ones first, and weigh them.

    Parameters
    ----------
    domains : Domains
        With a source. No target label is read.
    deadline : float, optional
        Value of `clock` after which no further candidate is started. With one, candidates run in
        rungs (`isthmus.select.trials.halved`); those that were left out are named.
    prior : ChoicePrior, optional

    Raises
    ------
    DataError
        If source-only itself cannot be fitted.
    """
    table_of = prior or choice_prior()
    cast, most, dropped = candidates(labelled=False), MOST, dict[str, str]()
    if deadline is not None:
        cast, most, dropped = halved(
            domains, new_model, cast, table_of, deadline=deadline, seed=seed, most=MOST, clock=clock
        )
    some, notes = drawn(replace(domains, target=None), seed, most_source=most, most_target=most)
    bench = Bench(some, new_model)
    tried = try_all(bench, cast, deadline=deadline, clock=clock)
    failed, proba = {**dropped, **tried.failed}, tried.proba
    try:
        classes = told(class_gap(bench, random_state=seed), bench.classes)
    except DataError as error:
        classes = {}
        notes.append(f"Classes of one side only were not looked for: {error}")
    found = weigh(bench, tried, table_of, seed=seed, least=SMALLEST)
    rows, order, gain, weights = found.rows, found.order, found.gain, found.weights
    whole = np.tensordot(weights, np.stack([proba[name] for name in order]), 1)
    names = columns(table_of.candidates)
    at = {name: i for i, name in enumerate(order)}
    lines = []
    for candidate in candidates(labelled=False):
        i = at.get(candidate.name)
        if i is None:
            lines.append(Line(candidate.name, candidate.family, reason=failed[candidate.name]))
            continue
        own = dict(zip(names, rows[i].tolist(), strict=True))
        shown = ("agreement", "confidence", "information", "neighbor_kappa", "moved_shares")
        lines.append(
            Line(
                candidate.name,
                candidate.family,
                float(weights[i]),
                float(gain[i]),
                float(found.downside[i]),
                evidence={name: own[name] for name in shown},
                seconds=tried.seconds[candidate.name],
            )
        )
    worth = dict(zip(order, weights.tolist(), strict=True))
    return Blend(
        pruned({name: tried.models[name] for name in order}, worth),
        tuple(lines),
        _gain(table_of, float(weights @ gain)),
        estimated_accuracy(table_of, blend_row(rows, weights, gain, whole), whole),
        {name: float(rows[0][i]) for i, name in enumerate(TASK)},
        tuple(statements(heard(bench, proba, random_state=seed))),
        classes,
        tuple(notes),
    )


def _gain(prior: ChoicePrior, expected: float) -> Interval:
    low, high = (prior.gain_error[end] for end in ("low", "high"))
    how = "learned from other data sets; no target label used"
    return Interval(expected, expected + low, expected + high, 0.9, how)


def estimated_accuracy(prior: ChoicePrior, row: Array, proba: Array) -> Interval:
    """Accuracy of a blend on the target rows, 90 %, from its descriptors and probabilities."""
    offset = float(prior.accuracy.predict(row[None])[0])
    value = float(np.clip(proba.max(axis=1).mean() + offset, 0, 1))
    spread = max(float(prior.spread.predict(row[None])[0]), 0.01)
    noise = np.sqrt(max(value * (1 - value), 0.01) / len(proba))
    half = prior.accuracy_error["0.9"] * float(np.hypot(spread, noise))
    how = "estimated without target labels; calibrated on other data sets"
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0), 0.9, how)


def pruned(models: Mapping[str, FeatureModel], weights: Mapping[str, float]) -> BlendModel:
    """The blend without members that move no prediction."""
    kept = [name for name in models if weights[name] >= SMALLEST]
    return BlendModel([models[n] for n in kept], [weights[n] for n in kept], kept)
