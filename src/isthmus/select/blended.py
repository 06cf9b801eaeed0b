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
from isthmus.select.descriptors import TASK, columns
from isthmus.select.estimated import estimated_accuracy, unknown
from isthmus.select.prior import ChoicePrior, choice_prior
from isthmus.select.routes.base import Domains, ModelFactory, Route
from isthmus.select.rung import NETWORKS, Rung, asked_for, joined, reached
from isthmus.select.trials import halved, try_all, weigh
from isthmus.select.views import views
from isthmus.select.witnesses import heard, statements
from isthmus.types import Interval, Task

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
    estimates : tuple of dict
        What every estimator says, and what it missed by on the benchmark.
    task : dict of str to float
        Descriptors of the pair.
    validators : tuple of dict
        What each label-free validator would pick, or why it has no say.
    classes : dict
        Classes that only one side seems to have (`isthmus.select.class_gap`); empty where that
        could not be looked for.
    notes : tuple of str
    networks : Rung
        Whether trained networks were among the candidates, and why.
    """

    model: BlendModel
    lines: tuple[Line, ...]
    gain: Interval
    accuracy: Interval
    estimates: tuple[dict[str, Any], ...]
    task: dict[str, float]
    validators: tuple[dict[str, Any], ...]
    classes: dict[str, Any]
    notes: tuple[str, ...]
    networks: Rung

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "expected_gain": self.gain.as_dict(),
            "estimated_accuracy": self.accuracy.as_dict(),
            "estimates": list(self.estimates),
            "diagnosis": {name: round(value, 4) for name, value in self.task.items()},
            "candidates": [line.as_dict() for line in self.lines],
            "validators": list(self.validators),
            "classes": self.classes,
            "networks": self.networks.as_dict(),
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
    deep : bool, optional
        Whether trained networks are among the candidates; default: by `select.rung.asked_for`.
    """

    name = NAME
    uses = frozenset({"source"})

    def __init__(
        self,
        *,
        seed: int = 0,
        deadline: float | None = None,
        prior: ChoicePrior | None = None,
        deep: bool | None = None,
    ) -> None:
        self.seed, self.deadline, self.prior, self.deep = seed, deadline, prior, deep
        self.found: Blend | None = None

    def fit(self, domains: Domains, new_model: ModelFactory) -> BlendModel:
        """Fit on what the domains hold; what was found stays in `found`."""
        with calmly(domains.Xt.size):
            self.found = blend(
                domains,
                new_model,
                seed=self.seed,
                deadline=self.deadline,
                prior=self.prior,
                deep=self.deep,
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
    deep: bool | None = None,
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
    deep : bool, optional
        See `isthmus.select.rung.asked_for`.

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
    classes: dict[str, Any] = {}
    estimates: tuple[dict[str, Any], ...] = ()
    consensus = np.mean(list(proba.values()), axis=0)
    try:
        seen = views(bench, random_state=seed)
        classes = told(class_gap(seen), bench.classes)
        accuracy, estimates = estimated_accuracy(seen, consensus[seen.rows], n_t=len(consensus))
    except DataError as error:
        accuracy = unknown(consensus, error.what)
        if not classes:
            notes.append(f"Classes of one side only were not looked for: {error}")
    found = weigh(bench, tried, table_of, seed=seed, least=SMALLEST)
    left = None if deadline is None else deadline - clock()
    rung = asked_for(bench, deep=deep, left=left, seed=seed, clock=clock)
    networks, closed = NETWORKS if rung.tried else (), dict(proba)
    if networks:
        try_all(bench, networks, deadline=deadline, clock=clock, into=tried)
        failed |= tried.failed
        rung = reached(rung, failed)
        found = joined(found, found.around, proba, table_of, least=SMALLEST)
    rows, order, gain, weights = found.rows, found.order, found.gain, found.weights
    names = columns(table_of.candidates)
    at = {name: i for i, name in enumerate(order)}
    lines = []
    for candidate in (*candidates(labelled=False), *networks):
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
        accuracy,
        estimates,
        {name: float(rows[0][i]) for i, name in enumerate(TASK)},
        tuple(statements(heard(bench, closed, random_state=seed))),
        classes,
        tuple(notes),
        rung,
    )


def _gain(prior: ChoicePrior, expected: float) -> Interval:
    low, high = (prior.gain_error[end] for end in ("low", "high"))
    how = "learned from other data sets; no target label used"
    return Interval(expected, expected + low, expected + high, 0.9, how)


def pruned(models: Mapping[str, FeatureModel], weights: Mapping[str, float]) -> BlendModel:
    """The blend without members that move no prediction."""
    kept = [name for name in models if weights[name] >= SMALLEST]
    return BlendModel([models[n] for n in kept], [weights[n] for n in kept], kept)
