"""Layer 6: the automatic choice with a few target labels: candidates weighed by those labels.

Every candidate is fitted on the source and the labelled target rows together; two more use one
side alone, and one is the choice that is made without labels. The weights come from what each said
of labelled rows that it was not fitted on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.fit.blend import BlendModel, Model
from isthmus.fit.model import FeatureModel
from isthmus.fit.threads import calmly
from isthmus.select.bench import Bench, drawn
from isthmus.select.blended import NAME, SMALLEST, Line, pruned
from isthmus.select.candidates import LEADING, Candidate, candidates
from isthmus.select.confidence import Confidence, Spoken, heated, spoken
from isthmus.select.evidence import TOO_FEW, Evidence, Folds
from isthmus.select.label_draw import row_weights
from isthmus.select.prior import ChoicePrior, choice_prior
from isthmus.select.routes.base import Domains, ModelFactory, Route
from isthmus.select.rung import NETWORKS, Rung, asked_for, reached
from isthmus.select.trials import CUT_SHORT, Weighed, try_all, weigh
from isthmus.types import Array

logger = logging.getLogger(__name__)

MOST = 3000  # source rows: each candidate is fitted once a fold
TRUST = 0.25  # of the labelled rows' log-likelihood: they are few, and weights overfit
LABEL_FREE = "label-free"  # the candidate that is the choice without labels
KIN = {"information-firm": "information-tight"}  # which the table knows by another name
# Shares where no label can be held out: one row of each class is no model, and what other data
# taught is worth as much as all that (docs/log.md).
UNSCORED = {"target-only": 1.0, "pooled": LEADING, LABEL_FREE: 2 * LEADING}
INNER = 0.05  # weight in it below which one of its own candidates is left out


@dataclass(frozen=True)
class Stack:
    """What the choice found.

    Parameters
    ----------
    model : BlendModel
    lines : tuple of Line
    evidence : Evidence
        Of the blend; in every fold its weights come from the other folds.
    held : tuple of ndarray of shape (m, K)
        What the blend of each fold says of the rows that it leaves out.
    notes : tuple of str
    networks : Rung
        Whether trained networks were among the candidates, and why.
    """

    model: BlendModel
    lines: tuple[Line, ...]
    evidence: Evidence
    held: tuple[Array, ...]
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
        Of the labelled target rows; the same as the other routes are scored on. None where these
        are too few: the candidates then keep the weights that they have before a label is read.
    fitted : mapping of str to sequence of models, optional
        What a route of that name was in each fold, and then on all rows, where it is a candidate
        too: not fitted again.
    seed : int, default=0
    deadline : float, optional
        `time.monotonic` value after which no further candidate is started.
    prior : ChoicePrior, optional
        Of the candidate that is the choice without labels; default: the table of this package.
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
        prior: ChoicePrior | None = None,
        deep: bool | None = None,
    ) -> None:
        self.folds, self.fitted, self.seed, self.deadline = folds, fitted or {}, seed, deadline
        self.prior, self.deep = prior, deep
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
                prior=self.prior,
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
    prior: ChoicePrior | None = None,
    deep: bool | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Stack:
    """Fit every candidate in every fold, weigh them, and fit them on all rows.

    Trained networks, where `isthmus.select.rung.asked_for` lets them in, are weighed by the same
    labels as the others.

    ``w ~ share * exp(TRUST * sum_i log p(y_i | x_i))`` over labelled rows i, each probability
    from a fit without row i: Bayesian model averaging with a tempered likelihood, and with the
    candidates' `share` as the prior, lowered where the learned table fears a loss (`hoped`). A row
    that several repeats hold out counts once, with their mean, and as much as its class is thought
    to occur (`isthmus.select.label_draw`). Each candidate's confidence is set by the same rows
    first (`isthmus.select.confidence`): in a mean one that is sure and wrong drowns others that
    are right and modest. Where no row can be held out, the shares are those of `UNSCORED`.

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
    held: dict[str, list[Spoken]] = {}
    models: dict[str, FeatureModel | BlendModel] = {}
    failed: dict[str, str] = {}
    last: IsthmusError | None = None
    rung, tried = Rung(False, ""), list[Candidate]()

    table_of = prior or choice_prior()

    @cache
    def whole() -> tuple[BlendModel, Weighed]:
        return label_free(
            some, new_model, seed=seed, deadline=deadline, prior=table_of, clock=clock
        )

    free = Candidate(LABEL_FREE, "none", lambda _, parts: [whole()[0]] * len(parts), share=LEADING)
    every, fits = np.arange(len(known)), len(folds) + 1

    def cast() -> Iterator[Candidate]:
        """The closed-form candidates; then, as the clock stands, the networks."""
        nonlocal rung
        yield from (*closed, free)
        left = None if deadline is None else deadline - clock()
        rung = asked_for(bench, deep=deep, left=left, fits=fits, seed=seed, clock=clock)
        yield from NETWORKS if rung.tried else ()

    for one in cast():
        name, build = one.name, one.build
        tried.append(one)
        if models and deadline is not None and clock() > deadline:
            failed[name] = CUT_SHORT
            continue
        try:
            made = (fitted or {}).get(name, ())
            if len(made) != fits:
                made = build(bench, [*(train for train, _ in folds), every])
            *parts, model = made
            assert isinstance(model, FeatureModel | BlendModel)  # no candidate abstains
            answers = [
                spoken(part, known.X[test]) for part, (_, test) in zip(parts, folds, strict=True)
            ]
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
    set_before = {one.name: one.share for one in tried} | ({} if folds else UNSCORED)
    shares = np.array([set_before[name] for name in names])
    if LABEL_FREE in models:
        shares = shares * hoped(names, whole()[1], table_of)
    counted = row_weights(truth, bench.codes, len(bench.classes))
    said = Confidence([held[name] for name in names], [test for _, test in folds], truth, counted)
    scores, row_total, blended = [], np.zeros(len(known)), list[Array]()
    for f, (train, test) in enumerate(folds):
        heat, logs = said.temperatures(train)
        weights = tempered(logs, shares)
        mixed = np.tensordot(weights, said.answers(f, heat), 1)
        blended.append(mixed)
        right = (mixed.argmax(axis=1) == truth[test]).astype(float)
        scores.append(right.mean())
        row_total[test] += right
    heat, logs = said.temperatures(np.arange(len(known)))
    weights = tempered(logs, shares)
    weights = np.where(weights >= SMALLEST, weights, 0)
    weights /= weights.sum()
    worth = dict(zip(names, weights.tolist(), strict=True))
    likely = dict(zip(names, (logs / len(known)).tolist(), strict=True))
    hot = dict(zip(names, heat.tolist(), strict=True))
    lines = []
    for one in tried:
        if one.name in failed:
            lines.append(Line(one.name, one.family, reason=failed[one.name]))
        else:
            evidence = {"held_out_log_likelihood": likely[one.name], "temperature": hot[one.name]}
            evidence = evidence if folds else {}
            lines.append(Line(one.name, one.family, worth[one.name], evidence=evidence))
    seconds = clock() - start
    scored = Evidence(NAME, "unscored", TOO_FEW, seconds=seconds)
    if folds:
        scored = Evidence(
            NAME,
            "scored",
            fold_scores=np.array(scores),
            row_scores=row_total / np.maximum(said.counts, 1),
            seconds=seconds,
        )
    model = pruned(*expanded(models, worth, hot))
    rung = reached(rung, failed)
    return Stack(model, tuple(lines), scored, tuple(blended), tuple(notes), rung)


def expanded(
    models: Mapping[str, FeatureModel | BlendModel],
    worth: Mapping[str, float],
    temperature: Mapping[str, float],
) -> tuple[dict[str, FeatureModel], dict[str, float]]:
    """The same mean with the members of a blend in its place, each as confident as it may be."""
    flat, weights = dict[str, FeatureModel](), dict[str, float]()
    for name, model in models.items():
        if isinstance(model, BlendModel):
            for own, member, weight in zip(model.names, model.members, model.weights, strict=True):
                flat[f"{name}: {own}"] = heated(member, temperature[name])
                weights[f"{name}: {own}"] = worth[name] * float(weight)
        else:
            flat[name], weights[name] = heated(model, temperature[name]), worth[name]
    return flat, weights


def label_free(
    domains: Domains,
    new_model: ModelFactory,
    *,
    seed: int,
    deadline: float | None = None,
    prior: ChoicePrior,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[BlendModel, Weighed]:
    """What the learned table makes of the pair where no target label is to be had."""
    some, _ = drawn(replace(domains, target=None), seed, most_source=MOST, most_target=MOST)
    bench = Bench(some, new_model)
    tried = try_all(bench, candidates(labelled=False), deadline=deadline, clock=clock)
    found = weigh(bench, tried, prior, seed=seed, least=INNER)
    worth = dict(zip(found.order, found.weights.tolist(), strict=True))
    return pruned(tried.models, worth), found


def hoped(names: Sequence[str], found: Weighed, prior: ChoicePrior) -> Array:
    """(m,) factor of each candidate's share: below 1 where the learned table fears a loss.

    ``min(1, exp((gain - caution * downside) / temperature))``, of the same idea without labels:
    five labels a class cannot tell that clusters are not classes, measures of the pair can. What
    the table promises beyond source-only is left to the labels.
    """
    at = dict(zip(found.order, zip(found.gain, found.downside, strict=True), strict=True))
    at[LABEL_FREE] = found.weights @ found.gain, found.weights @ found.downside
    known = [at.get(KIN.get(name, name), (0.0, 0.0)) for name in names]
    worth = np.array([gain - prior.caution * downside for gain, downside in known])
    return np.asarray(np.exp(np.minimum(worth, 0) / prior.temperature))


def tempered(log_likelihood: Array, shares: Array) -> Array:
    """(m,) weights from the log-likelihood of each candidate, and its weight before that."""
    worth = TRUST * (log_likelihood - log_likelihood.max())
    weights = shares * np.exp(worth)
    return np.asarray(weights / weights.sum())
