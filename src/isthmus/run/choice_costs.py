"""Layer 8: what the automatic choice will cost, from trials on made-up rows."""

from __future__ import annotations

import importlib.util

import numpy as np

from isthmus.fit.aligned import AlignedMLP
from isthmus.run.case import Case
from isthmus.run.costs import BOUNDED, CELL, FAILED, MB, TRIAL, Step, made_up, timed
from isthmus.select import blended, rung, stacked
from isthmus.select.bench import Bench
from isthmus.select.evidence import Folds
from isthmus.select.routes.base import Domains, ModelFactory, Route


def choice_step(
    case: Case,
    domains: Domains,
    folds: Folds,
    new_model: ModelFactory,
    width: int,
    *,
    seed: int,
) -> Step:
    """The automatic choice: all candidates on made-up rows, in two folds if there are labels."""
    assert domains.source is not None
    most = blended.MOST if domains.target is None else stacked.MOST
    rows = min(len(domains.source), most) + min(len(domains.Xt), 10 * most)
    half = max(min(rows, TRIAL) // 2, 3 * len(case.classes), 20)
    rng = np.random.default_rng(seed)
    one, other = (made_up(case, half, width, rng) for _ in range(2))
    route: Route
    if domains.target is None:
        known, times, words = None, 1.0, ""
        route = blended.Blended(seed=seed)
    else:
        known = made_up(case, 4 * len(case.classes), width, rng)
        side = np.arange(len(known)) // len(case.classes) % 2
        tried = [(np.flatnonzero(side != k), np.flatnonzero(side == k)) for k in (0, 1)]
        times = (len(folds) + 1) / (len(tried) + 1)
        words = f", {len(folds)} folds"
        route = stacked.Stacked(tried, seed=seed)

    def once() -> None:
        route.fit(Domains(one, known, other.X), new_model)

    try:
        spent = timed(once)
    except FAILED as error:
        return Step(f"route: {route.name}", rows, 0.0, 0.0, f"no estimate: {error}")
    seconds = spent * times * max(rows / (2 * half), 1.0)
    memory = CELL * rows * width / MB + 8 * min(rows, 2 * BOUNDED) ** 2 / MB
    how = f"every candidate, from a trial on {2 * half} rows{words}"
    return Step(f"route: {route.name}", rows, seconds, memory, how)


def network_steps(
    case: Case,
    domains: Domains,
    folds: Folds,
    new_model: ModelFactory,
    width: int,
    *,
    seed: int,
) -> list[Step]:
    """The networks of the automatic choice, should it try them; none where torch is missing."""
    if importlib.util.find_spec("torch") is None:
        return []
    assert domains.source is not None
    most = blended.MOST if domains.target is None else stacked.MOST
    rows = min(len(domains.source), most)
    half = max(min(rows, TRIAL // 2), 3 * len(case.classes), 20)
    rng = np.random.default_rng(seed)
    one, other = (made_up(case, half, width, rng) for _ in range(2))
    name = f"route: {blended.NAME}, networks"
    try:
        each = rung.seconds(Bench(Domains(one, None, other.X), new_model))
    except FAILED as error:
        return [Step(name, rows, 0.0, 0.0, f"no estimate: {error}")]
    count = AlignedMLP().count
    each *= count(rows) / count(half)
    fits = len(rung.NETWORKS) * (1 if domains.target is None else len(folds) + 1)
    words = f"where the domains differ: {fits} trainings of {count(rows):,} steps"
    memory = CELL * (rows + len(domains.Xt)) * width / MB
    return [Step(name, rows, fits * each, memory, f"{words}, from a trial of {rung.PROBE}")]
