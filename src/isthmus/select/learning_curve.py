"""Layer 6: what more target labels would buy: a measured curve, a law through it, the next step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError, UsageError
from isthmus.fit.folds import folds as make_folds
from isthmus.select.evidence import row_scores
from isthmus.select.power_law import fit_laws
from isthmus.types import Array, Interval, Task

logger = logging.getLogger(__name__)

Fit = Callable[[Array], Callable[[Array], Any]]  # rows to learn from -> (rows to answer -> answers)

LEAST = 10  # labelled rows below which no curve is drawn
N_SPLITS, N_SIZES, N_BOOT = 5, 6, 400
LEAST_SIZES = 3  # the law has three parameters
# Set on 96 curves of reviews, photos and hospital tables: intervals at 90 % then held the true
# gain in 88 % of them. Folds share their training rows, so the plain bootstrap is too narrow; and
# no curve is a power law, so the gain may lie this far beside it.
WIDEN, MISFIT = 1.3, 0.01


@dataclass(frozen=True)
class LearningCurve:
    """Scores at growing numbers of labelled target rows, and the gain expected of the next ones.

    Parameters
    ----------
    sizes : tuple of int
        Labelled target rows that the models learned from, increasing.
    scores : tuple of float
        Mean held-out score at each size (a share; for regression minus the mean absolute error).
    intervals : tuple of Interval
        Of each score, over rows (or groups) and repeats.
    labelled : int
        Rows that have a label now.
    add : int
        Rows that would be labelled next.
    expected_gain : Interval or None
        Expected rise of the score from `labelled` to `labelled` + `add` rows; None where nothing
        can be said, and `reason` says why.
    reason : str
        Empty where there is an expected gain.
    notes : tuple of str
        What was left out while the curve was measured.
    task : str
        Says how figures are printed: shares in points, errors in their own unit.
    """

    sizes: tuple[int, ...]
    scores: tuple[float, ...]
    intervals: tuple[Interval, ...]
    labelled: int
    add: int
    expected_gain: Interval | None
    reason: str = ""
    notes: tuple[str, ...] = ()
    task: Task = "classification"

    @property
    def sentence(self) -> str:
        """``Label these 50 next: expected gain +2.1 points +- 1.4 [0.9, 3.7]``, or why not."""
        if self.expected_gain is None:
            return f"No gain can be named for the next {self.add} labels: {self.reason}."
        gain = self.expected_gain
        half = (gain.high - gain.low) / 2
        if self.task == "regression":
            return (
                f"Label these {self.add} next: expected gain {gain.value:+.3g} +- {half:.3g} in "
                f"mean absolute error [{gain.low:.3g}, {gain.high:.3g}] ({gain.how})."
            )
        half = 100 * half
        return (
            f"Label these {self.add} next: expected gain {100 * gain.value:+z.1f} +- {half:.1f} "
            f"points [{100 * gain.low:.1f}, {100 * gain.high:.1f}] ({gain.how})."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One dict a line of ``learning_curve.csv``.

        Columns: ``labels``, ``score``, ``low``, ``high``, ``kind``: ``measured`` at each size,
        then ``expected gain``, whose ``labels`` is the number after the next `add`.
        """
        found: list[dict[str, Any]] = [
            {"labels": n, "score": s, "low": i.low, "high": i.high, "kind": "measured"}
            for n, s, i in zip(self.sizes, self.scores, self.intervals, strict=True)
        ]
        if self.expected_gain is not None:
            gain = self.expected_gain
            found.append(
                {
                    "labels": self.labelled + self.add,
                    "score": gain.value,
                    "low": gain.low,
                    "high": gain.high,
                    "kind": "expected gain",
                }
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "sizes": list(self.sizes),
            "scores": list(self.scores),
            "intervals": [i.as_dict() for i in self.intervals],
            "labelled": self.labelled,
            "add": self.add,
            "expected_gain": None if self.expected_gain is None else self.expected_gain.as_dict(),
            "reason": self.reason,
            "sentence": self.sentence,
            "notes": list(self.notes),
        }


def learning_curve(
    fit: Fit,
    y: Any,
    *,
    task: Task = "classification",
    groups: Array | None = None,
    sizes: Sequence[int] | None = None,
    add: int = 50,
    n_repeats: int = 3,
    from_zero: bool = False,
    level: float = 0.9,
    deadline: float | None = None,
    random_state: int = 0,
) -> LearningCurve:
    """Measure the curve by repeated cross-validation and carry it `add` labels further.

    In every fold a model learns from the first s training rows of one random order, for each size
    s, and answers the rows of the fold; so the scores at two sizes are compared on equal rows.
    The law is an inverse power [1]_ (`isthmus.select.power_law`), fitted to each bootstrap draw of
    the curve. It never falls: where target labels would do harm the expected gain is near 0, and
    only its interval reaches below. The rows to come are taken to be like those labelled so far.

    Parameters
    ----------
    fit : callable
        ``fit(rows)`` learns from these labelled target rows (and whatever else it knows, such as
        the source) and returns ``predict(rows)``, the answers for others: names, numbers, or a
        bool matrix. Rows are positions in `y`.
    y : array-like of shape (n,) or (n, k)
        Labels of the labelled target rows.
    task : {"classification", "multilabel", "regression"}
    groups : ndarray of shape (n,), optional
        Rows that must not be torn apart between learning and answering.
    sizes : sequence of int, optional
        By default six, spread evenly on a log scale up to the rows of a training fold.
    add : int, default=50
    n_repeats : int, default=3
        Deals of the folds; cost is ``n_repeats * 5 * len(sizes)`` fits.
    from_zero : bool, default=False
        `fit` takes no rows as well (it has a source): measure size 0 too.
    level : float, default=0.9
        Of the intervals.
    deadline : float, optional
        `time.monotonic` value after which no further repeat is started; the first is always
        finished.
    random_state : int, default=0

    Returns
    -------
    LearningCurve
        Without `expected_gain`, and with the reason, where there are fewer than ten labelled rows,
        fewer than two of a class, or fewer than three sizes that could be fitted.

    Raises
    ------
    UsageError
        If `add`, `n_repeats` or a size makes no sense.

    References
    ----------
    .. [1] Viering, Loog, "The shape of learning curves: a review", IEEE TPAMI 2023.
    """
    y = np.asarray(y)
    n = len(y)
    if add < 1 or n_repeats < 1 or not 0 < level < 1:
        raise UsageError("add and n_repeats are at least 1, level lies between 0 and 1")
    reason = _why_not(y, task, groups)
    if reason:
        return LearningCurve((), (), (), n, add, None, reason)
    deals = make_folds(
        y, task=task, groups=groups, n_splits=N_SPLITS, n_repeats=n_repeats,
        random_state=random_state,
    )  # fmt: skip
    splits = len(deals) // n_repeats
    wanted = _sizes(sizes, min(len(train) for train, _ in deals), y, task, from_zero)
    table, notes = _measure(
        fit, y, deals, splits, wanted, task, groups, deadline, random_state
    )  # (repeats, n, sizes)
    kept = np.asarray(np.isfinite(table).all(axis=(0, 1)))
    sizes_kept = [s for s, fine in zip(wanted, kept.tolist(), strict=True) if fine]
    table = table[:, :, kept]
    if not len(sizes_kept):
        return LearningCurve((), (), (), n, add, None, "no size could be fitted", tuple(notes))
    drawn = _resampled(table, groups, random_state)  # (N_BOOT, sizes)
    means = table.mean(axis=(0, 1))
    how = f"bootstrap over {_units(n, groups)} and {len(table)} repeats"
    intervals = tuple(_interval(v, drawn[:, i], level, how) for i, v in enumerate(means))
    curve = (tuple(sizes_kept), tuple(map(float, means)), intervals, n, add)
    if len(sizes_kept) < LEAST_SIZES:
        reason = f"only {len(sizes_kept)} sizes could be fitted, and a law needs {LEAST_SIZES}"
        return LearningCurve(*curve, None, reason, tuple(notes))
    upper = 0.0 if task == "regression" else 1.0
    wide = means + WIDEN * (drawn - drawn.mean(axis=0))
    laws = fit_laws(np.array(sizes_kept), wide, upper=upper)
    unit = 1.0 if upper else float(np.abs(means).max())
    beside = np.random.default_rng([random_state, 2]).normal(0.0, MISFIT * unit, N_BOOT)
    gains = laws.at(n + add) - laws.at(n)
    low_high = gains + beside
    gain = _interval(float(gains.mean()), low_high, level, f"power law, {how}")
    return LearningCurve(*curve, gain, "", tuple(notes), task)


def _why_not(y: Array, task: Task, groups: Array | None) -> str:
    """Why no curve can be measured; empty where it can."""
    n = len(y)
    if n == 0:
        return (
            "no target row is labelled, and curves of other data do not carry over; "
            "label some rows first"
        )
    if n < LEAST:
        return f"{n} labelled target rows are too few to hold some out; it takes {LEAST}"
    if groups is not None and len(set(np.asarray(groups).astype(str))) < 2:
        return "all labelled target rows belong to one group, so none can be held out"
    if task == "classification":
        _, counts = np.unique(y.astype(str), return_counts=True)
        if len(counts) < 2:
            return "all labelled target rows are of one class"
        if counts.max() < 2:
            return "no class has two labelled target rows"
    return ""


def _sizes(
    sizes: Sequence[int] | None, most: int, y: Array, task: Task, from_zero: bool
) -> list[int]:
    if sizes is not None:
        found = sorted({int(s) for s in sizes})
        low = 0 if from_zero else 1
        if not found or found[0] < low or found[-1] > most:
            raise UsageError(
                f"sizes {found} of a learning curve",
                why=f"they lie between {low} and the {most} rows of the smallest training fold",
            )
        return found
    least = len(np.unique(y.astype(str))) if task == "classification" else 4
    least = min(max(least, 4), most)
    spread = np.geomspace(least, most, N_SIZES).round().astype(int)
    return ([0] if from_zero else []) + sorted({int(s) for s in spread})


def _measure(
    fit: Fit,
    y: Array,
    deals: list[tuple[Array, Array]],
    splits: int,
    sizes: list[int],
    task: Task,
    groups: Array | None,
    deadline: float | None,
    random_state: int,
) -> tuple[Array, list[str]]:
    """Score of every row at every size in every repeat; NaN where a size could not be fitted."""
    repeats = len(deals) // splits
    table = np.full((repeats, len(y), len(sizes)), np.nan)
    notes: list[str] = []
    failed: set[int] = set()
    done = 0
    for repeat in range(repeats):
        if repeat and deadline is not None and time.monotonic() > deadline:
            notes.append(f"The time budget ended after {repeat} of {repeats} repeats.")
            break
        for train, test in deals[repeat * splits : (repeat + 1) * splits]:
            rng = np.random.default_rng([random_state, repeat, int(test[0])])
            order = _ordered(train, y, task, rng)
            for column, size in enumerate(sizes):
                if size in failed:
                    continue
                try:
                    answers = fit(order[:size])(test)
                except IsthmusError as error:
                    logger.warning("learning curve: %d labels: %s", size, error)
                    notes.append(f"{size} labels are left out: {error}")
                    failed.add(size)
                    continue
                table[repeat, test, column] = row_scores(y[test], np.asarray(answers), task)
        done = repeat + 1
    return table[:done], notes


def _ordered(train: Array, y: Array, task: Task, rng: np.random.Generator) -> Array:
    """A random order in which the first row of each class comes first: no model lacks a class."""
    order = rng.permutation(train)
    if task != "classification":
        return order
    _, first = np.unique(y[order].astype(str), return_index=True)
    rest = np.setdiff1d(np.arange(len(order)), first)
    return order[np.concatenate([rng.permutation(first), rest])]


def _resampled(table: Array, groups: Array | None, random_state: int) -> Array:
    """(N_BOOT, sizes) means of curves over resampled rows (or groups) and repeats."""
    rng = np.random.default_rng([random_state, 1])
    repeats, n, _ = table.shape
    which = np.arange(n)
    if groups is not None:
        _, which = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    units = int(which.max()) + 1
    # each unit's weight: how often it was drawn; a ratio, since groups differ in size
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=N_BOOT)[:, which].astype(float)
    drawn /= drawn.sum(axis=1, keepdims=True)
    deals = rng.multinomial(repeats, np.full(repeats, 1 / repeats), size=N_BOOT) / repeats
    return np.asarray(np.einsum("br,bn,rns->bs", deals, drawn, table, optimize=True))


def _units(n: int, groups: Array | None) -> str:
    if groups is None:
        return f"{n} rows"
    return f"{len(set(np.asarray(groups).astype(str)))} groups"


def _interval(value: float, drawn: Array, level: float, how: str) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        float(value), float(min(low, value)), float(max(high, value)), level=level, how=how
    )


def nothing_known(add: int = 50) -> LearningCurve:
    """The answer without any labelled target row: a refusal with its reason."""
    return LearningCurve((), (), (), 0, add, None, _why_not(np.empty(0), "classification", None))
