"""Rank backbones or sources by transferability, with the uncertainty of every rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import array_api_compat
import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.transferability.base import check_features, check_labels, like, to_numpy
from isthmus.transferability.gbc import gbc
from isthmus.transferability.hscore import hscore, regularized_hscore
from isthmus.transferability.leep import leep
from isthmus.transferability.linear_probe import fit_predict, inflation, linear_probe
from isthmus.transferability.logme import logme
from isthmus.transferability.nce import nce
from isthmus.transferability.resample import (
    Ranked,
    Ranking,
    build,
    halves,
    replicate,
    replicate_rows,
)
from isthmus.transferability.transrate import transrate
from isthmus.types import Array, Trouble

__all__ = ["Ranked", "Ranking", "rank_backbones", "rank_sources"]

SCORES: dict[str, Callable[[Any, Any], float]] = {
    "logme": logme,
    "leep": leep,
    "nce": nce,
    "hscore": hscore,
    "regularized_hscore": regularized_hscore,
    "transrate": transrate,
    "gbc": gbc,
}


def rank_backbones(
    features: Mapping[str, Any],
    labels: Any,
    *,
    measure: str | Callable[[Any, Any], float] = "logme",
    task: str = "classification",
    groups: Any = None,
    n_boot: int = 100,
    max_rows: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> Ranking:
    """Which features suit the labels best, and how sure is the order?

    Parameters
    ----------
    features : mapping of str to array of shape (n, d_j)
        One feature set a backbone, all of the same rows; NumPy or torch. For "leep" the
        probabilities, for "nce" the labels (n,) that each backbone's own classifier gives.
    labels : array of shape (n,)
        Classes, or numbers for ``task="regression"``.
    measure : str or callable, default="logme"
        "logme", "leep", "nce", "hscore", "regularized_hscore", "transrate", "gbc",
        "linear_probe", or ``(features, labels) -> number``, higher is better.
    task : {"classification", "regression"}
        Regression knows "logme" and callables.
    groups : array of shape (n,), optional
        Rows of one group (patient, speaker) are drawn as a whole.
    n_boot : int, default=100
        Resamples. Random halves of the rows without replacement, centred on the score of all
        rows; for "linear_probe" a bootstrap of its out-of-fold answers.
    max_rows : int, default=1000
        Most rows of a resample; the spread is scaled to all rows.
    level : float, default=0.95
        Joint coverage of the rank intervals.
    random_state : int, default=0

    Returns
    -------
    Ranking
        Candidates, the best first; candidates that the data cannot tell apart have rank
        intervals that overlap.

    Raises
    ------
    DataError, UsageError
        On unequal numbers of rows, no candidates, or an unknown measure.
    """
    who = "rank_backbones"
    _check_boot(features, n_boot, who)
    n = len(to_numpy(labels))
    y = check_labels(labels, n, who=who)
    names = list(features)
    sets = [f if array_api_compat.is_array_api_obj(f) else np.asarray(f) for f in features.values()]
    for name, one in zip(names, sets):
        if one.shape[0] != n:
            raise DataError(f"{one.shape[0]} rows of {name!r} for {n} labels", where=who)
    units = None if groups is None else check_labels(groups, n, who=f"{who} (groups)")
    rng = np.random.default_rng(random_state)
    words = "rows" if units is None else "groups"
    troubles: list[Trouble] = []
    title = measure if isinstance(measure, str) else getattr(measure, "__name__", "measure")
    if measure == "linear_probe":
        if task != "classification":
            raise UsageError("linear_probe knows classes only", where=who, remedy="Use logme")
        probes = [linear_probe(f, y, groups=units, random_state=random_state) for f in sets]
        right = np.stack([probe.right for probe in probes], axis=1)
        for name, probe in zip(names, probes):
            troubles += [replace(t, reason=f"{name}: {t.reason}") for t in probe.troubles]
        values, replicates = replicate_rows(right, units, count=n_boot, rng=rng)
        replicates = values + (replicates - values) * inflation(probes[0].folds) ** 0.5
        how = f"{n_boot} bootstrap samples of {words}"
    else:
        score = _score(measure, task, who)
        codes = np.unique(y, return_inverse=True)[1] if task == "classification" else None
        draws = halves(codes, units, n, count=n_boot, max_rows=max_rows, rng=rng)

        def scores(rows: Array | None) -> Array:
            return np.array([score(_rows(f, rows), y if rows is None else y[rows]) for f in sets])

        values, replicates = replicate(scores, draws)
        how = f"{n_boot} random halves of the {words}"
        if units is None and n // 2 > max_rows:
            how = f"{n_boot} samples of {max_rows} of {n} rows, scaled"
    return build(
        names,
        values,
        replicates,
        measure=title,
        how=how,
        level=level,
        troubles=tuple(troubles),
    )


def rank_sources(
    sources: Mapping[str, tuple[Any, Any]],
    zt: Any,
    yt: Any = None,
    *,
    measure: str = "leep",
    gap: Callable[[Any, Any], Any] | None = None,
    groups: Any = None,
    n_boot: int = 100,
    max_rows: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> Ranking:
    """Which source fits the target best, and how sure is the order?

    Parameters
    ----------
    sources : mapping of str to (features (n_j, d), labels (n_j,))
        All in one feature space; labels may be None where `gap` is given.
    zt : array of shape (n, d)
        Target features.
    yt : array of shape (n,), optional
        Classes of the target rows. Without them `gap` is needed.
    measure : {"leep", "nce", "accuracy"}, default="leep"
        A logistic regression is fitted on each source and asked about the target rows; "leep"
        and "nce" allow other classes than the source's, "accuracy" compares names.
    gap : callable, optional
        ``(zs, zt) -> number``, lower is better, for a target without labels: any function of
        `isthmus.discrepancy`, e.g. ``coral_distance``. Values with a ``value`` are understood.
    groups : array of shape (n,), optional
        Groups of the target rows, drawn as a whole.
    n_boot, level, random_state
        As in `rank_backbones`.
    max_rows : int, default=1000
        Most rows of a resample. With `gap`, sides of more than twice as many rows are sampled
        down first.

    Returns
    -------
    Ranking
        With `yt` the uncertainty is that of the target rows; the sources' models are taken as
        they are. With `gap` both sides are resampled.

    Raises
    ------
    DataError, UsageError
        If both or none of `yt` and `gap` are given, or widths differ.
    """
    who = "rank_sources"
    _check_boot(sources, n_boot, who)
    if (yt is None) == (gap is None):
        raise UsageError(
            "give target labels or a gap, not both" if yt is not None else "no target labels",
            where=who,
            remedy="Without labels pass gap=, e.g. isthmus.discrepancy.coral_distance's function",
        )
    _, target = check_features(zt, who=who)
    sides = {}
    for name, (zs, ys) in sources.items():
        _, source = check_features(zs, who=f"{who} ({name})")
        if source.shape[1] != target.shape[1]:
            raise DataError(
                f"{source.shape[1]} features, the target has {target.shape[1]}",
                where=f"{who} ({name})",
            )
        sides[name] = (source, ys)
    n = target.shape[0]
    units = None if groups is None else check_labels(groups, n, who=f"{who} (groups)")
    rng = np.random.default_rng(random_state)
    words = "rows" if units is None else "groups"
    if gap is not None:
        features = {name: source for name, (source, _) in sides.items()}
        values, replicates = _by_gap(features, target, gap, units, n_boot, max_rows, rng)
        how = f"{n_boot} random halves of source rows and target {words}"
        return build(
            list(sides),
            values,
            replicates,
            measure=getattr(gap, "__name__", "gap"),
            how=how,
            level=level,
            higher_is_better=False,
        )
    y = check_labels(yt, n, who=who)
    if measure not in ("leep", "nce", "accuracy"):
        raise UsageError(f"unknown measure {measure!r}", where=who, remedy="leep, nce, accuracy")
    troubles: list[Trouble] = []
    answers = [
        _ask(name, source, ys, target, measure, rng, troubles)
        for name, (source, ys) in sides.items()
    ]
    if measure == "accuracy":
        known = [np.asarray(a).astype(str) == y.astype(str) for a in answers]
        right = np.stack(known, axis=1).astype(float)
        values, replicates = replicate_rows(right, units, count=n_boot, rng=rng)
        how = f"{n_boot} bootstrap samples of target {words}"
    else:
        score = SCORES[measure]
        codes = np.unique(y, return_inverse=True)[1]
        draws = halves(codes, units, n, count=n_boot, max_rows=max_rows, rng=rng)

        def scores(rows: Array | None) -> Array:
            return np.array([score(_rows(a, rows), _rows(y, rows)) for a in answers])

        values, replicates = replicate(scores, draws)
        how = f"{n_boot} random halves of the target {words}"
    return build(
        list(sides),
        values,
        replicates,
        measure=measure,
        how=how,
        level=level,
        troubles=tuple(troubles),
    )


def _check_boot(candidates: Mapping[str, Any], n_boot: int, who: str) -> None:
    """At least one candidate and enough resamples for a spread."""
    if not candidates:
        raise UsageError("nothing to rank", where=who)
    if n_boot < 20:
        raise UsageError(f"n_boot={n_boot}", where=who, why="a rank interval needs 20 or more")


def _score(measure: Any, task: str, who: str) -> Callable[[Any, Any], float]:
    """The function behind a name."""
    if callable(measure):
        return measure
    if task == "regression" and measure == "logme":
        return partial(logme, task="regression")
    if task != "classification" or measure not in SCORES:
        known = ", ".join((*SCORES, "linear_probe")) if task == "classification" else "logme"
        raise UsageError(f"no measure {measure!r} for {task}", where=who, remedy=f"Use {known}")
    return SCORES[measure]


def _rows(values: Any, rows: Array | None) -> Any:
    """Rows of an array of any namespace; None is all of them."""
    if rows is None:
        return values
    if isinstance(values, np.ndarray):
        return values[rows]
    xp = array_api_compat.array_namespace(values)
    return xp.take(values, like(xp, rows, values), axis=0)


def _ask(
    name: str,
    source: Any,
    ys: Any,
    target: Any,
    measure: str,
    rng: np.random.Generator,
    troubles: list[Trouble],
) -> Array:
    """What the source's logistic regression says of the target rows."""
    where = f"rank_sources ({name})"
    if ys is None:
        raise DataError("the source has no labels", where=where, remedy="Pass gap= instead")
    X = to_numpy(source)
    classes, codes = np.unique(check_labels(ys, len(X), who=where), return_inverse=True)
    if len(X) > 20_000:  # a probe of a source gains nothing from more rows
        rows = np.sort(rng.choice(len(X), 20_000, replace=False))
        X, codes = X[rows], codes[rows]
        present, codes = np.unique(codes, return_inverse=True)
        classes = classes[present]
    answer, converged = fit_predict(X, codes, to_numpy(target), proba=measure == "leep")
    if not converged:
        reason = f"the probe of {name!r} did not converge"
        troubles.append(Trouble("not-converged", reason, "Scale the features"))
    return answer if measure == "leep" else classes[answer]


def _by_gap(
    sources: dict[str, Any],
    target: Any,
    gap: Callable[[Any, Any], Any],
    groups: Array | None,
    n_boot: int,
    max_rows: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Values of `gap` and replicates on halves of both sides; the target half is shared."""

    def cut(values: Any) -> Any:
        if values.shape[0] <= 2 * max_rows:
            return values
        return _rows(values, np.sort(rng.choice(values.shape[0], 2 * max_rows, replace=False)))

    features = [cut(source) for source in sources.values()]
    if groups is None:
        target = cut(target)
    n = target.shape[0]
    draws = halves(None, groups, n, count=n_boot, max_rows=n, rng=rng)

    def scores(rows: Array | None) -> Array:
        found = []
        for source in features:
            count = source.shape[0]
            mine = None if rows is None else np.sort(rng.permutation(count)[: max(2, count // 2)])
            found.append(_number(gap(_rows(source, mine), _rows(target, rows))))
        return np.array(found)

    return replicate(scores, draws)


def _number(value: Any) -> float:
    """A number, or the number inside a value such as `Gap` or `Interval`."""
    while hasattr(value, "value"):
        value = value.value
    return float(value)
