"""Layer 6: candidates tried on the rows of a bench and weighed by what other tasks taught.

Under a time budget they run in rungs, as in successive halving (Jamieson and Talwalkar, AISTATS
2016): all of them on few rows, the better half on four times as many, and so on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench, drawn
from isthmus.select.candidates import Candidate
from isthmus.select.descriptors import Surroundings, table
from isthmus.select.prior import ChoicePrior
from isthmus.select.routes.base import Domains, ModelFactory
from isthmus.types import Array

logger = logging.getLogger(__name__)

FIRST = 500  # rows a side of the first rung
STEP = 4  # each rung sees this many times the rows of the one before
FEWEST = 4  # candidates that the last rung keeps at least
GROWTH = 1.5  # time of a candidate grows with about this power of the rows
CUT_SHORT = "not reached: the time budget ended"


@dataclass
class Tried:
    """What became of each candidate.

    Parameters
    ----------
    models, proba : dict
        By name, of those that can be used: the fitted model, (n_t, K) of the bench's target rows.
    seconds : dict of str to float
    failed : dict of str to str
        Why the others cannot.
    """

    models: dict[str, FeatureModel] = field(default_factory=dict)
    proba: dict[str, Array] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Weighed:
    """What the learned table expects of each candidate.

    Parameters
    ----------
    order : list of str
        Candidates, in the order of the arrays.
    rows : ndarray of shape (m, len(columns))
        Their descriptors.
    gain, downside, weights : ndarray of shape (m,)
    around : Surroundings
        What the descriptors were measured in.
    """

    order: list[str]
    rows: Array
    gain: Array
    downside: Array
    weights: Array
    around: Surroundings


def try_all(
    bench: Bench,
    cast: Iterable[Candidate],
    *,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    into: Tried | None = None,
) -> Tried:
    """Fit candidates one after the other; the first, source-only, must not fail.

    Parameters
    ----------
    into : Tried, optional
        What was tried before; it is added to.

    Raises
    ------
    IsthmusError, LinAlgError, FloatingPointError
        What source-only failed of.
    """
    out = Tried() if into is None else into
    for candidate in cast:
        start = clock()
        if out.models and deadline is not None and start > deadline:
            out.failed[candidate.name] = CUT_SHORT
            continue
        try:
            model = candidate.model(bench)
            answer = model.predict_proba(bench.domains.Xt)
            if not np.isfinite(answer).all():
                raise FloatingPointError("its probabilities are not finite")
        except (IsthmusError, np.linalg.LinAlgError, FloatingPointError) as error:
            if not out.models:
                raise
            logger.warning("candidate %s failed: %s", candidate.name, error)
            out.failed[candidate.name] = f"failed: {error}"
            continue
        out.models[candidate.name], out.proba[candidate.name] = model, answer
        out.seconds[candidate.name] = clock() - start
    return out


def weigh(bench: Bench, tried: Tried, prior: ChoicePrior, *, seed: int, least: float) -> Weighed:
    """Weights from the learned table; those below `least` become 0."""
    around = Surroundings(bench, random_state=seed)
    rows, order = table(around, tried.proba, prior.candidates)
    gain, downside = prior.expected(rows, order)
    weights = prior.weights(gain, downside)
    weights = np.where(weights >= least, weights, 0.0)
    return Weighed(order, rows, gain, downside, weights / weights.sum(), around)


def halved(
    domains: Domains,
    new_model: ModelFactory,
    cast: list[Candidate],
    prior: ChoicePrior,
    *,
    deadline: float,
    seed: int,
    most: int,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Candidate], int, dict[str, str]]:
    """Which candidates are worth all the rows that the time allows, and how many rows that is.

    Returns
    -------
    kept : list of Candidate
        Source-only first.
    most : int
        Rows a side for the last rung.
    dropped : dict of str to str
        Why the others are left out.
    """
    assert domains.source is not None
    whole = min(max(len(domains.source), len(domains.Xt)), most)
    kept, dropped, size = list(cast), dict[str, str](), FIRST
    while STEP * size <= whole:
        start = clock()
        some, _ = drawn(replace(domains, target=None), seed, most_source=size, most_target=size)
        bench = Bench(some, new_model)
        tried = try_all(bench, kept, deadline=deadline, clock=clock)
        spent = clock() - start
        for candidate in kept:
            if candidate.name in tried.failed:
                dropped[candidate.name] = tried.failed[candidate.name]
        found = weigh(bench, tried, prior, seed=seed, least=0.0)
        ranked = [found.order[i] for i in np.argsort(-found.weights, kind="stable")]
        room = max(FEWEST, (len(kept) + 1) // 2)
        best = {"source-only", *ranked[:room]}
        for name in ranked:
            if name not in best:
                dropped[name] = f"left out after {size:,} rows a side: others promise more"
        kept = [c for c in kept if c.name in best]
        left = deadline - clock()
        share = len(kept) / max(len(tried.models), 1)
        if spent * share * STEP**GROWTH > left:  # the next rung would not end in time
            return kept, size, dropped
        size *= STEP
    return kept, most, dropped
