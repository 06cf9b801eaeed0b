"""Layer 6: the automatic choice with a few target labels: candidates weighed by those labels.

Every candidate is fitted on the source and the labelled target rows together; two more use one
side alone. The weights come from what each said of labelled rows that it was not fitted on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.fit.blend import BlendModel, Model
from isthmus.fit.model import FeatureModel
from isthmus.fit.threads import calmly
from isthmus.select.bench import Bench, drawn
from isthmus.select.blended import NAME, SMALLEST, Line, pruned
from isthmus.select.candidates import Candidate, candidates
from isthmus.select.evidence import Evidence, Folds
from isthmus.select.routes.base import Domains, ModelFactory, Route
from isthmus.select.rung import NETWORKS, Rung, asked_for
from isthmus.types import Array

logger = logging.getLogger(__name__)

MOST = 3000  # source rows: each candidate is fitted once a fold
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
    networks : Rung
        Whether trained networks were among the candidates, and why.
    """

    model: BlendModel
    lines: tuple[Line, ...]
    evidence: Evidence
    notes: tuple[str, ...]
    networks: Rung

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "candidates": [line.as_dict() for line in self.lines],
            "networks": self.networks.as_dict(),
            "notes": list(self.notes),
        }


class Stacked(Route):
    """All candidates with the labelled target rows, weighed by held-out ones.

    Parameters
    ----------
    folds : list of (train, test)
        Of the labelled target rows; the same as the other routes are scored on.
    fitted : mapping of str to sequence of models, optional
        What a route of that name was in each fold, where it is a candidate too: not fitted again.
    seed : int, default=0
    deadline : float, optional
        `time.monotonic` value after which no further candidate is started.
    deep : bool, optional
        Whether trained networks are among the candidates; default: by `select.rung.asked_for`.
    """

    name = NAME
    uses = frozenset({"source", "target"})

    def __init__(
        self,
        folds: Folds,
        *,
        fitted: Mapping[str, Sequence[Model]] | None = None,
        seed: int = 0,
        deadline: float | None = None,
        deep: bool | None = None,
    ) -> None:
        self.folds, self.fitted, self.seed, self.deadline = folds, fitted or {}, seed, deadline
        self.deep = deep
        self.found: Stack | None = None

    def fit(self, domains: Domains, new_model: ModelFactory) -> BlendModel:
        """Fit on what the domains hold; what was found stays in `found`."""
        with calmly(domains.Xt.size):
            self.found = stack(
                domains,
                new_model,
                self.folds,
                fitted=self.fitted,
                seed=self.seed,
                deadline=self.deadline,
                deep=self.deep,
            )
        return self.found.model


def stack(
    domains: Domains,
    new_model: ModelFactory,
    folds: Folds,
    *,
    fitted: Mapping[str, Sequence[Model]] | None = None,
    seed: int = 0,
    deadline: float | None = None,
    deep: bool | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Stack:
    """Fit every candidate in every fold, weigh them, and fit them on all rows.

    Trained networks, where `isthmus.select.rung.asked_for` lets them in, are weighed by the same
    labels as the others.

    ``w ~ exp(TRUST * sum_i log p(y_i | x_i))`` over labelled rows i, each probability from a fit
    without row i: Bayesian model averaging with a tempered likelihood. A row that several repeats
    hold out counts once, with their mean.

    Raises
    ------
    DataError
        If not one candidate can be fitted.
    """
    start = clock()
    some, notes = drawn(domains, seed, most_source=MOST, most_target=10 * MOST)
    bench, closed, known = Bench(some, new_model), candidates(labelled=True), some.target
    assert known is not None
    truth = bench.codes_of(known)
    held: dict[str, list[Array]] = {}
    models: dict[str, FeatureModel] = {}
    failed: dict[str, str] = {}
    last: IsthmusError | None = None
    rung, tried = Rung(False, ""), list[Candidate]()

    def cast() -> Iterator[Candidate]:
        """The closed-form candidates; then, as the clock stands, the networks."""
        nonlocal rung
        yield from closed
        left = None if deadline is None else deadline - clock()
        fits = len(folds) + 1
        rung = asked_for(bench, deep=deep, left=left, fits=fits, seed=seed, clock=clock)
        yield from NETWORKS if rung.tried else ()

    for one in cast():
        name, build = one.name, one.build
        tried.append(one)
        if models and deadline is not None and clock() > deadline:
            failed[name] = "not reached: the time budget ended"
            continue
        try:
            parts = (fitted or {}).get(name, ())
            if len(parts) != len(folds):
                parts = [build(bench, known.take(train)) for train, _ in folds]
            answers = [
                part.predict_proba(known.X[test])
                for part, (_, test) in zip(parts, folds, strict=True)
            ]
            model = build(bench, known)
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
    worth = dict(zip(names, weights.tolist(), strict=True))
    likely = dict(zip(names, logs.mean(axis=1).tolist(), strict=True))
    lines = []
    for one in tried:
        if one.name in failed:
            lines.append(Line(one.name, one.family, reason=failed[one.name]))
        else:
            evidence = {"held_out_log_likelihood": likely[one.name]}
            lines.append(Line(one.name, one.family, worth[one.name], evidence=evidence))
    scored = Evidence(
        NAME,
        "scored",
        fold_scores=np.array(scores),
        row_scores=row_total / np.maximum(counts, 1),
        seconds=clock() - start,
    )
    return Stack(pruned(models, worth), tuple(lines), scored, tuple(notes), rung)


def tempered(log_likelihood: Array) -> Array:
    """(m,) weights from the log-likelihood of each candidate."""
    worth = TRUST * (log_likelihood - log_likelihood.max())
    weights = np.exp(worth)
    return np.asarray(weights / weights.sum())
