"""Would a new domain be served? Each source domain in turn plays the target, labels unseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from isthmus.adapt.multi_source import MultiSource
from isthmus.data.domains import SOURCE, TARGET, source_domains
from isthmus.discrepancy.base import mean_and_spread
from isthmus.errors import DataError, UsageError
from isthmus.evaluate.intervals import mean_interval, paired_difference, undefined
from isthmus.fit.estimator import DomainAdaptedClassifier, DomainAdaptedRegressor
from isthmus.types import Array, Interval

WHO = "leave_one_source_out"
BASELINE = "source-only"


@dataclass(frozen=True)
class HeldOut:
    """One method on one held-out source domain.

    Parameters
    ----------
    source : int
        Its id.
    rows : int
    method : str
    score : Interval
        Accuracy, or mean absolute error.
    gain : Interval
        Score minus that of ``source-only`` on the same rows (for errors, a negative number is
        the better one); its own gain is not defined.
    """

    source: int
    rows: int
    method: str
    score: Interval
    gain: Interval


@dataclass(frozen=True)
class LeaveOneSourceOut:
    """Every method on every held-out source domain.

    Parameters
    ----------
    metric : str
        ``accuracy`` or ``mae``.
    table : tuple of HeldOut
        Source by source.
    gains : dict of str to Interval
        Mean gain of each method over the held-out sources; its t interval is over the sources,
        which are what a new domain would be another one of.
    """

    metric: str
    table: tuple[HeldOut, ...]
    gains: dict[str, Interval]

    def as_rows(self) -> list[dict[str, Any]]:
        """Plain JSON values, a dict a line of the table."""
        return [
            {
                "source": line.source,
                "rows": line.rows,
                "method": line.method,
                self.metric: line.score.as_dict(),
                "gain": line.gain.as_dict(),
            }
            for line in self.table
        ]

    def text(self) -> str:
        """The table in lines of text."""

        def figure(value: Interval) -> str:
            if not np.isfinite(value.value):
                return "-"
            if not np.isfinite(value.low):  # a single source has no spread
                return f"{value.value:.4g}"
            if self.metric == "accuracy":
                return value.percent()
            return f"{value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"

        lines = [("held-out source", "rows", "method", self.metric, f"gain over {BASELINE}")]
        for line in self.table:
            note = figure(line.score)
            if note == "-":
                note = line.score.how
            lines.append((str(line.source), str(line.rows), line.method, note, figure(line.gain)))
        for name, gain in self.gains.items():
            lines.append(("mean", "", name, "", figure(gain)))
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in lines
        )


def leave_one_source_out(
    X: Any,
    y: Any,
    sample_domain: Any,
    *,
    adapter: Any = None,
    estimator: Any = None,
    methods: Mapping[str, Any] | None = None,
    task: str = "classification",
    groups: Any = None,
    n_boot: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> LeaveOneSourceOut:
    """Hold out each source domain in turn: train on the others, adapt to its rows, score them.

    The held-out labels are used for the score alone: during the fit its rows are unlabelled
    target rows. Rows of the real target (``sample_domain < 0``) take no part.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
    sample_domain : array-like of shape (n,), int
        At least two source domains: 0, 1, 2, ...
    adapter : Adapter, optional
        Adds the rows ``adapted`` (the other sources pooled, then the adapter).
    estimator : estimator, optional
        Behind all of them. Default: logistic or ridge regression.
    methods : mapping of str to estimator, optional
        More methods with the same `fit`. With three sources or more, classification, and neither
        given, ``combined`` is `MultiSource`.
    task : {"classification", "regression"}
    groups : array-like of shape (n,), optional
        Patients, speakers, ...: resampled as a whole.
    n_boot, level, random_state
        Resamples, nominal coverage, seed.

    Returns
    -------
    LeaveOneSourceOut

    Raises
    ------
    DataError
        If there are fewer than two source domains.
    UsageError
        If the task is unknown or a method is called ``source-only``.

    Notes
    -----
    A method that refuses the rows of a split has no score there, with its reason. A few sources
    say little about the next one: read the interval of the mean gain.
    """
    if task not in ("classification", "regression"):
        raise UsageError(f"task={task!r}", where=WHO, remedy="Use classification or regression")
    ids = source_domains(sample_domain)
    inside = np.asarray(sample_domain) >= SOURCE
    X, y = np.asarray(X)[inside], np.asarray(y)[inside]
    groups = None if groups is None else np.asarray(groups)[inside]
    names = np.unique(ids)
    if len(names) < 2:
        raise DataError(
            f"{len(names)} source domain",
            where=WHO,
            why="one is held out, and another must be there to learn from",
            remedy="Number the source domains 0, 1, 2, ... in sample_domain",
        )
    face = DomainAdaptedClassifier if task == "classification" else DomainAdaptedRegressor
    known: dict[str, Any] = {BASELINE: face(None, estimator)}
    if adapter is not None:
        known["adapted"] = face(adapter, estimator)
    if task == "classification" and methods is None and len(names) > 2:
        known["combined"] = MultiSource(adapter, estimator)
    for name, method in (methods or {}).items():
        if name in known:
            raise UsageError(f"a method is called {name!r}", where=WHO, remedy="Use another name")
        known[name] = method
    table: list[HeldOut] = []
    options: dict[str, Any] = {"n_boot": n_boot, "level": level, "random_state": random_state}
    for held in names:
        rows = ids == held
        group = None if groups is None else groups[rows]
        first: Array | None = None
        for name, method in known.items():
            try:
                values = _values(method, X, y, ids, held, task)
            except ValueError as error:  # our refusals are ValueErrors, as scikit-learn's are
                gone = undefined(f"refused: {error}", level=level)
                table.append(HeldOut(int(held), int(rows.sum()), name, gone, gone))
                continue
            score = mean_interval(values, groups=group, **options)
            gain = undefined("it is the baseline", level=level)
            if name == BASELINE:
                first = values
            elif first is not None:
                gain = paired_difference(values, first, groups=group, **options)
            else:
                gain = undefined(f"{BASELINE} has no score", level=level)
            table.append(HeldOut(int(held), int(rows.sum()), name, score, gain))
    gains = {}
    for name in known:
        each = np.array([line.gain.value for line in table if line.method == name])
        each = each[np.isfinite(each)]
        if name != BASELINE and len(each):
            how = f"t over {len(each)} held-out sources"
            gains[name] = mean_and_spread(each, level=level, how=how)
    return LeaveOneSourceOut("accuracy" if task == "classification" else "mae", tuple(table), gains)


def _values(method: Any, X: Array, y: Array, ids: Array, held: Any, task: str) -> Array:
    """(m,) 1 for right, or absolute errors, on the held-out source; its labels are hidden."""
    rows = ids == held
    hidden = y.copy()
    hidden[rows] = y[~rows][0]
    domain = np.where(rows, TARGET, ids)
    model = clone(method).fit(X, hidden, sample_domain=domain)
    said = np.asarray(model.predict(X[rows]))
    if task == "classification":
        return np.asarray(said == y[rows], dtype=np.float64)
    return np.abs(np.asarray(said, dtype=np.float64) - y[rows].astype(np.float64))
