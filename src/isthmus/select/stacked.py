"""Layer 6: the automatic choice with a few target labels: candidates weighed by those labels.

Every candidate is fitted on the source and the labelled target rows together; two more use one
side alone. The weights come from what each said of labelled rows that it was not fitted on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter
from isthmus.adapt.coral import CORAL
from isthmus.adapt.gfk import GFK
from isthmus.adapt.information_maximization import InformationMaximization
from isthmus.adapt.pca import PCA
from isthmus.adapt.self_training import SelfTraining
from isthmus.adapt.standardize import Standardize
from isthmus.adapt.tca import TCA
from isthmus.errors import IsthmusError
from isthmus.fit.adapted import adapt, fit_adapter, fit_method
from isthmus.fit.blend import BlendModel
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.fit.threads import calmly
from isthmus.select.blended import NAME, SMALLEST, Line
from isthmus.select.candidates import Bench, few
from isthmus.select.evidence import Evidence, Folds
from isthmus.select.routes.base import Domains, Labelled, ModelFactory, Route
from isthmus.types import Adaptation, Array

logger = logging.getLogger(__name__)

MOST = 3000  # source rows: each candidate is fitted once a fold
CAP = 10.0  # one labelled target row counts at most this many source rows
TRUST = 0.15  # of the labelled rows' log-likelihood: they are few, and weights overfit
FLOOR = 1e-3  # smallest probability that a candidate is held to have given


@dataclass(frozen=True)
class Stack:
    """What the choice found.

    Parameters
    ----------
    model : BlendModel
    lines : tuple of Line
    evidence : Evidence
        Of the blend; in every fold its weights come from the other folds.
    notes : tuple of str
    """

    model: BlendModel
    lines: tuple[Line, ...]
    evidence: Evidence
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "candidates": [line.as_dict() for line in self.lines],
            "notes": list(self.notes),
        }


class LabelledBench(Bench):
    """What the candidates share; maps see no label, so all folds share them."""

    def __init__(self, domains: Domains, new_model: ModelFactory) -> None:
        super().__init__(domains, new_model)
        assert domains.target is not None
        self.known = domains.target
        self._maps: dict[str, tuple[Adaptation, float]] = {}

    @cached_property
    def weight(self) -> float:
        """Weight of a labelled target row, in units of a source row."""
        return float(np.clip(len(self.source) / len(self.known), 1.0, CAP))

    def pooled(self, name: str, method: Adapter | None, rows: Array) -> FeatureModel:
        """Source and labelled target rows after a map."""
        if name not in self._maps:
            found = Adaptation(self.space.Xs)
            scale = 1.0
            if method is not None:
                found = adapt(method, self.space, self.source.y, task="classification")
                before, after = (
                    float(np.asarray(X).var(axis=0).sum()) for X in (self.space.Xs, found.Xs)
                )
                scale = before / after if after > 0 else 1.0
            self._maps[name] = found, self.C * scale
        found, C = self._maps[name]
        part = self.known.take(rows)
        model = fit_adapter(
            self.blank(C), self.space, found, self.source.y,
            known=(part.X, part.y), target_weight=self.weight,
        )  # fmt: skip
        return self.calibrated(model)

    def with_labels(self, method: object, rows: Array) -> FeatureModel:
        """A method that is a classifier itself."""
        part = self.known.take(rows)
        model = FeatureModel(None, LogisticHead(C=self.C), None, "classification", self.classes)
        return fit_method(model, self.space, method, self.source.y, known=(part.X, part.y))

    def target_only(self, rows: Array) -> FeatureModel:
        """The labelled target rows alone, with a penalty of their own, as the route has it."""
        part = self.known.take(rows)
        return self.new_model().fit(part.X, part.y, groups=part.groups)


Build = Callable[[LabelledBench, Array], FeatureModel]
CANDIDATES: tuple[tuple[str, str, Build], ...] = (
    ("source-only", "none", lambda b, rows: b.reference),
    ("target-only", "none", lambda b, rows: b.target_only(rows)),
    ("pooled", "none", lambda b, rows: b.pooled("pooled", None, rows)),
    ("centre", "mean", lambda b, rows: b.pooled("centre", Standardize(scale=False), rows)),
    ("pca", "subspace", lambda b, rows: b.pooled("pca", PCA(few(b, 40)), rows)),
    ("coral", "covariance", lambda b, rows: b.pooled("coral", CORAL(), rows)),
    (
        "gfk",
        "subspace",
        lambda b, rows: b.pooled("gfk", GFK(min(few(b, 20), max(1, few(b, 40) // 2))), rows),
    ),
    ("tca", "subspace", lambda b, rows: b.pooled("tca", TCA(few(b, 30)), rows)),
    (
        "information",
        "clusters",
        lambda b, rows: b.with_labels(
            InformationMaximization(LogisticHead(C=b.C), trade_off=0.3, C=b.C), rows
        ),
    ),
    (
        "information-tight",
        "clusters",
        lambda b, rows: b.with_labels(
            InformationMaximization(LogisticHead(C=b.C), C=b.C / 10), rows
        ),
    ),
    (
        "self-training",
        "clusters",
        lambda b, rows: b.with_labels(SelfTraining(LogisticHead(C=b.C)), rows),
    ),
)


class Stacked(Route):
    """All candidates with the labelled target rows, weighed by held-out ones.

    Parameters
    ----------
    folds : list of (train, test)
        Of the labelled target rows; the same as the other routes are scored on.
    seed : int, default=0
    deadline : float, optional
        `time.monotonic` value after which no further candidate is started.
    """

    name = NAME
    uses = frozenset({"source", "target"})

    def __init__(self, folds: Folds, *, seed: int = 0, deadline: float | None = None) -> None:
        self.folds, self.seed, self.deadline = folds, seed, deadline
        self.found: Stack | None = None

    def fit(self, domains: Domains, new_model: ModelFactory) -> BlendModel:
        """Fit on what the domains hold; what was found stays in `found`."""
        with calmly(domains.Xt.size):
            self.found = stack(
                domains, new_model, self.folds, seed=self.seed, deadline=self.deadline
            )
        return self.found.model


def stack(
    domains: Domains,
    new_model: ModelFactory,
    folds: Folds,
    *,
    seed: int = 0,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Stack:
    """Fit every candidate in every fold, weigh them, and fit them on all rows.

    ``w ~ exp(TRUST * sum_i log p(y_i | x_i))`` over labelled rows i, each probability from a fit
    without row i: Bayesian model averaging with a tempered likelihood. A row that several repeats
    hold out counts once, with their mean.

    Raises
    ------
    DataError
        If not one candidate can be fitted.
    """
    start = clock()
    some, notes = _drawn(domains, seed)
    bench = LabelledBench(some, new_model)
    known, everything = bench.known, np.arange(len(bench.known))
    place = {name: i for i, name in enumerate(bench.classes)}
    truth = np.array([place[str(name)] for name in known.y])
    held: dict[str, list[Array]] = {}
    models: dict[str, FeatureModel] = {}
    failed: dict[str, str] = {}
    last: IsthmusError | None = None
    for name, _, build in CANDIDATES:
        if models and deadline is not None and clock() > deadline:
            failed[name] = "not reached: the time budget ended"
            continue
        try:
            answers = [build(bench, train).predict_proba(known.X[test]) for train, test in folds]
            model = build(bench, everything)
        except (IsthmusError, np.linalg.LinAlgError) as error:
            logger.warning("candidate %s failed: %s", name, error)
            failed[name] = f"failed: {error}"
            last = error if isinstance(error, IsthmusError) else last
            continue
        held[name], models[name] = answers, model
    if not models:
        assert last is not None
        raise last
    names = list(models)
    logs = np.zeros((len(names), len(known)))
    counts = np.zeros(len(known))
    for f, (_, test) in enumerate(folds):
        counts[test] += 1
        for i, name in enumerate(names):
            own = held[name][f][np.arange(len(test)), truth[test]]
            logs[i, test] += np.log(np.maximum(own, FLOOR))
    logs /= np.maximum(counts, 1)
    scores, row_total = [], np.zeros(len(known))
    for f, (train, test) in enumerate(folds):
        weights = tempered(logs[:, train].sum(axis=1))
        mixed = np.tensordot(weights, np.stack([held[name][f] for name in names]), 1)
        right = (mixed.argmax(axis=1) == truth[test]).astype(float)
        scores.append(right.mean())
        row_total[test] += right
    weights = tempered(logs.sum(axis=1))
    weights = np.where(weights >= SMALLEST, weights, 0)
    weights /= weights.sum()
    kept = [i for i in range(len(names)) if weights[i] > 0]
    lines = tuple(
        Line(
            name,
            family,
            float(weights[names.index(name)]) if name in models else 0.0,
            reason=failed.get(name, ""),
            evidence={"held_out_log_likelihood": float(logs[names.index(name)].mean())}
            if name in models
            else {},
        )
        for name, family, _ in CANDIDATES
    )
    evidence = Evidence(
        NAME,
        "scored",
        fold_scores=np.array(scores),
        row_scores=row_total / np.maximum(counts, 1),
        seconds=clock() - start,
    )
    mixed_model = BlendModel(
        [models[names[i]] for i in kept], weights[kept], [names[i] for i in kept]
    )
    return Stack(mixed_model, lines, evidence, tuple(notes))


def tempered(log_likelihood: Array) -> Array:
    """(m,) weights from the log-likelihood of each candidate."""
    worth = TRUST * (log_likelihood - log_likelihood.max())
    weights = np.exp(worth)
    return np.asarray(weights / weights.sum())


def _drawn(domains: Domains, seed: int) -> tuple[Domains, list[str]]:
    """At most `MOST` source rows and ten times as many target rows, drawn at random."""
    assert domains.source is not None
    rng = np.random.default_rng(seed)
    source, Xt, notes = domains.source, domains.Xt, []
    if len(source) > MOST:
        rows = np.sort(rng.permutation(len(source))[:MOST])
        source = Labelled(source.X[rows], source.y[rows])
        notes.append(f"the candidates were fitted on {MOST:,} source rows, drawn at random")
    if len(Xt) > 10 * MOST:
        Xt = Xt[np.sort(rng.permutation(len(Xt))[: 10 * MOST])]
        notes.append(f"the candidates saw {10 * MOST:,} target rows, drawn at random")
    return replace(domains, source=source, Xt=Xt), notes
