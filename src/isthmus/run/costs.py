"""Layer 8: what the steps of a run will cost, from a handful of items and small trial fits.

Every figure is an estimate. Features: a few items go through the backbone and their time is carried
over to all rows that the store does not hold. Fits: the route itself is fitted on a few hundred
made-up rows of the real width, and its time is carried over with the power of the rows that the
method's documented cost names.
"""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isthmus.backbone import Store, embed
from isthmus.backbone.keys import KeyMaker, as_words
from isthmus.data.samples import FrameItems, Samples
from isthmus.errors import IsthmusError
from isthmus.evaluate.baseline import no_transfer
from isthmus.evaluate.shots import draw_shots
from isthmus.run.case import Case
from isthmus.run.extract import as_labelled, prepared
from isthmus.select.routes.base import Domains, Labelled, ModelFactory, Route
from isthmus.types import Array

logger = logging.getLogger(__name__)

HANDFUL = 32  # items through the backbone, and rows of a table times 50
LOOKED_UP = 64  # items looked up in the store
TRIAL = 400  # made-up rows of a trial fit
BOUNDED = 5000  # rows a side beyond which methods turn to approximations
CELL = 24  # bytes a number of the features takes while a head is fitted (copies included)
MB = 1e6
FAILED = (IsthmusError, ValueError, ArithmeticError)  # a trial that fails costs an estimate only


@dataclass(frozen=True)
class Step:
    """One line of the plan.

    Parameters
    ----------
    name : str
    rows : int
    seconds, memory : float
        Estimates; memory in MB (10^6 bytes) on top of what the steps before it keep.
    how : str
        Where the estimate comes from.
    """

    name: str
    rows: int
    seconds: float
    memory: float
    how: str

    def as_dict(self) -> dict[str, Any]:
        """Plain form; two significant digits, because there are no more."""
        return {
            "step": self.name,
            "rows": self.rows,
            "seconds": _two(self.seconds),
            "memory_mb": _two(self.memory),
            "how": self.how,
        }


def feature_steps(
    case: Case, backbone: Any, *, store: Store | None, seed: int
) -> tuple[list[Step], int]:
    """Start of the backbone and the features of every part; and the width of a feature row."""
    rng = np.random.default_rng(seed)
    table = isinstance(case.target.items, FrameItems)
    few = HANDFUL * 50 if table else HANDFUL
    parts = {"source": case.source, "labelled target": case.labelled, "target": case.target}
    if case.test is not None and case.test.ids != case.target.ids:
        parts["test"] = case.test
    there = {role: part for role, part in parts.items() if part is not None}
    start = time.perf_counter()
    sample = replace(
        case,
        source=None if case.source is None else _some(case.source, few, rng),
        labelled=None if case.labelled is None else _some(case.labelled, few, rng),
    )
    ready = prepared(sample, backbone)
    embed(ready, case.target.take(np.arange(1)), store=None)
    first = time.perf_counter() - start
    steps = [Step("start of the backbone", 1, first, 0.0, "measured")]
    width = int(ready.num_features)
    for role, part in there.items():
        rate, tried = _rate(ready, part, few, rng)
        held = 0.0 if store is None or table else _held(store, ready, part, rng)
        left = (1 - held) * len(part)
        how = f"{tried} rows measured"
        if held:
            how += f"; about {100 * held:.0f} % are in the feature store"
        size = 4 * len(part) * width / MB
        steps.append(Step(f"features: {role}", len(part), rate * left, size, how))
    return steps, width


def network_step(case: Case, backbone: Any, *, seed: int) -> Step:
    """Training the pretrained network itself, and the features of every row after it."""
    from isthmus.run.network_rung import EPOCHS

    few, rng = HANDFUL, np.random.default_rng(seed)
    rate, tried = _rate(prepared(case, backbone), case.target, few, rng)
    rows = sum(len(part) for part in (case.source, case.target) if part is not None)
    how = f"{EPOCHS} epochs; backwards costs twice as much as the features of {tried} rows measured"
    return Step("route: the network itself", rows, rate * rows * (3 * EPOCHS + 1), 0.0, how)


def route_steps(
    case: Case,
    routes: list[Route],
    domains: Domains,
    folds: list[Any],
    new_model: ModelFactory,
    width: int,
    *,
    degrees: dict[str, int],
    seed: int,
) -> list[Step]:
    """Scoring and fitting of every route that can run.

    Parameters
    ----------
    degrees : dict of str to int
        Power of the rows in a method's documented cost; 1 where it is not named.
    """
    steps = []
    tried: dict[tuple[Any, ...], tuple[float, int]] = {}
    for route in routes:
        if route.refuses(domains) is not None:
            continue
        by_hand = route.by_hand
        size_s = len(domains.source) if domains.source is not None and "source" in route.uses else 0
        size_l = len(domains.target) if domains.target is not None else 0
        size_l = size_l if "target" in route.uses else 0
        size_t = len(domains.Xt) if by_hand else 0
        rows = size_s + max(size_l, size_t)
        fits = 1 + (len(folds) if "target" in route.uses else min(len(folds), 1))
        degree = degrees.get(route.name, 1)
        mark = (route.name if by_hand else "head", min(rows, TRIAL))
        try:
            if mark not in tried:
                tried[mark] = _trial(case, route, new_model, width, rows, bool(size_l), seed)
        except FAILED as error:  # said in the plan; the run will tell more
            steps.append(Step(f"route: {route.name}", rows, 0.0, 0.0, f"no estimate: {error}"))
            continue
        seconds, used = tried[mark]
        updates = getattr(getattr(route, "method", None), "count", None)  # of a trained network
        growth = _growth(rows, used, degree)
        if updates is not None:
            growth = updates(size_s) / updates(used // 2)
        each = seconds * growth
        memory = CELL * rows * width / MB + 8 * min(rows, width) ** 2 / MB
        if degree > 1:
            memory += 8 * min(rows, 2 * BOUNDED) ** 2 / MB
        words = f"{fits} fit{'s' if fits > 1 else ''}, each from a trial on {used} rows"
        if updates is not None:
            words += f", for {updates(size_s):,} steps of training"
        elif degree > 1:
            words += f", rows to the power {degree}"
        steps.append(Step(f"route: {route.name}", rows, fits * each, memory, words))
    return steps


def baseline_step(case: Case, *, seed: int) -> Step:
    """The no-transfer baseline of the proof, from a few real rows."""
    rng = np.random.default_rng(seed)
    own = case.labelled or case.source
    assert own is not None and own.labels is not None
    test = case.test if case.test is not None else own
    per_class = max(2, HANDFUL // max(len(case.classes), 1))
    k = HANDFUL if case.task == "regression" else per_class
    drawn = draw_shots(own.labels, k, random_state=seed, task=case.task)
    train, few = own.take(drawn.rows), _some(test, HANDFUL, rng)
    rows = len(own) + len(test)

    def once() -> None:
        no_transfer(
            train, train.labels, few, task=case.task, classes=case.classes, max_bad=1.0,
            random_state=seed,
        )  # fmt: skip

    try:
        spent = timed(once)
    except FAILED as error:
        return Step("proof and baselines", rows, 0.0, 0.0, f"no estimate: {error}")
    used = len(train) + len(few)
    seconds = spent * max(rows / used, 1.0) * (1 if case.test is not None else 2)
    return Step("proof and baselines", rows, seconds, 0.0, f"a trial on {used} rows")


def documented_degree(cost: str) -> int:
    """Power of the rows in a documented cost.

    >>> documented_degree("O(n_s n_t d)"), documented_degree("O(n d^2)"), documented_degree("n^3")
    (2, 1, 3)
    """
    if re.search(r"\bn(_[st])?\^3", cost):
        return 3
    if re.search(r"\bn(_[st])?\^2", cost) or re.search(r"\bn_s\s*n_t\b", cost):
        return 2
    return 1


def resident() -> float:
    """Largest memory of this process so far, in MB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (MB if sys.platform == "darwin" else 1e3)


def _growth(rows: int, used: int, degree: int) -> float:
    """Cost at all rows in units of the trial; methods turn linear beyond a stated size."""
    if degree == 1 or rows <= 2 * BOUNDED:
        return float((rows / used) ** degree)
    return float((2 * BOUNDED / used) ** degree * (rows / (2 * BOUNDED)))


def _rate(ready: Any, part: Samples, few: int, rng: np.random.Generator) -> tuple[float, int]:
    """Seconds a row, and rows that were timed: more of them where the first went quickly."""
    batch = min(max(int(getattr(ready, "batch_size", few)), 1), few)
    spent, tried = 0.0, 0
    for count in dict.fromkeys((batch, few)):
        if spent > 0.5:
            break
        some = _some(part, count, rng)
        start = time.perf_counter()
        embed(ready, some, store=None)
        spent, tried = time.perf_counter() - start, len(some)
    return spent / max(tried, 1), tried


def _held(store: Store, backbone: Any, part: Samples, rng: np.random.Generator) -> float:
    """Share of the rows that the store has, from a few of them."""
    if not getattr(backbone, "worth_storing", True):
        return 0.0
    maker, keys = KeyMaker(backbone), []
    some = _some(part, LOOKED_UP, rng)
    for row in range(len(some)):
        try:
            keys.append(np.frombuffer(maker(some.items[row]), dtype=np.uint8))
        except IsthmusError:
            continue
    if not keys:
        return 0.0
    wanted = np.unique(as_words(np.array(keys)))
    room = np.empty((len(wanted), int(backbone.num_features)), dtype=np.float32)
    return float(store.fetch(backbone, wanted, room, np.arange(len(wanted))).found.mean())


def _some(part: Samples, count: int, rng: np.random.Generator) -> Samples:
    if len(part) <= count:
        return part
    return part.take(np.sort(rng.choice(len(part), count, replace=False)))


def _trial(
    case: Case,
    route: Route,
    new_model: ModelFactory,
    width: int,
    rows: int,
    labelled: bool,
    seed: int,
) -> tuple[float, int]:
    """Seconds of one fit on made-up rows, and how many there were."""
    rng = np.random.default_rng(seed)
    size = max(min(rows, TRIAL), 3 * max(len(case.classes), 2), 10)
    by_hand = route.by_hand
    half = max(size // 2, 3 * max(len(case.classes), 2)) if by_hand else size

    one = made_up(case, half, width, rng)
    if by_hand:
        few = made_up(case, 3 * max(len(case.classes), 2), width, rng) if labelled else None
        sides = np.array(["a", "b"])[np.arange(half) // max(len(case.classes), 1) % 2]
        domains = Domains(
            replace(one, domain=sides), few, made_up(case, half, width, rng).X
        )  # two source domains with every class, for methods that tell sources apart
    else:
        domains = Domains(one, one, one.X)
        route = _HeadOnly()

    def once() -> None:
        route.fit(domains, new_model)
        route.forget()

    return timed(once), 2 * half if by_hand else half


def made_up(case: Case, count: int, width: int, rng: np.random.Generator) -> Labelled:
    """Rows of the case's kind that mean nothing."""
    X = rng.normal(size=(count, width)).astype(np.float32)
    if case.task == "regression":
        return Labelled(X, X[:, : min(width, 5)].sum(axis=1) + rng.normal(size=count))
    if case.task == "multilabel":
        return Labelled(X, rng.random((count, len(case.classes))) < 0.5)
    code = np.arange(count) % len(case.classes)
    X += rng.normal(size=(len(case.classes), width)).astype(np.float32)[code] * 0.3
    return Labelled(X, np.array(case.classes, dtype=object)[code])


def timed(once: Callable[[], None]) -> float:
    """Seconds of a call; a quick one is done again, since the first one imports and warms up."""
    spent = np.inf
    for _ in range(3):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few or made-up rows: their trouble is nobody's
            once()
        spent = min(spent, time.perf_counter() - start)
        if spent > 0.5:
            break
    return float(spent)


class _HeadOnly(Route):
    """The head that all routes share, on the rows as they are."""

    name, uses = "head", frozenset({"source"})

    def fit(self, domains: Domains, new_model: ModelFactory) -> Any:
        assert domains.source is not None
        return new_model().fit(domains.source.X, domains.source.y)


def stub(case: Case) -> Domains:
    """The domains of a case before any feature exists: labels and counts, no numbers."""

    def labelled(part: Samples | None) -> Labelled | None:
        return None if part is None else as_labelled(_no_columns(len(part)), part)

    return Domains(labelled(case.source), labelled(case.labelled), _no_columns(len(case.target)))


def _no_columns(n: int) -> Array:
    return np.empty((n, 0), dtype=np.float32)


def _two(value: float) -> float:
    """Two significant digits."""
    return float(f"{value:.2g}") if value else 0.0
