"""Layer 6: how far apart are two domains, and in which way? Features and labels in, findings out.

The measures are those of `isthmus.discrepancy`, in the space in which the adaptation methods see
both domains (`isthmus.fit.adapted.common_space`): one unit is one standard deviation of a mean
feature.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.discrepancy.a_distance import a_distance
from isthmus.discrepancy.coral_distance import coral_distance
from isthmus.discrepancy.drift import drift
from isthmus.discrepancy.mmd import mmd_test
from isthmus.discrepancy.wasserstein import sliced_wasserstein
from isthmus.errors import DataError
from isthmus.fit.adapted import Space
from isthmus.fit.heads import make_head
from isthmus.select import readings
from isthmus.select.shares import class_shares, values
from isthmus.types import Array, Interval, Task, Trouble

MAX_ROWS = 2000  # of a side, for measures whose cost grows faster than the rows
DEALS = 5  # random deals of the rows behind the level of chance
FEW = 10  # rows of a class on a side below which no AUC is given
SHOWN = 10


def diagnose_features(
    space: Space,
    *,
    Xs: Array,
    Xt: Array,
    task: Task | None = None,
    ys: Array | None = None,
    yt: Array | None = None,
    groups_s: Array | None = None,
    groups_t: Array | None = None,
    names: Sequence[str] | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """All findings, JSON-ready.

    Parameters
    ----------
    space : Space
        Both domains as the methods see them.
    Xs, Xt : ndarray of shape (n_s, d), (n_t, d)
        The features themselves, for the drift of each.
    task : str, optional
        None: there are no labels.
    ys, yt : ndarray, optional
        Labels of the source rows, of the target rows (None or NaN where there is none).
    groups_s, groups_t : ndarray, optional
    names : sequence of str, optional
        Names of the features.
    random_state : int, default=0

    Returns
    -------
    dict
        ``gaps`` (list of findings), ``prior``, ``per_class``, ``drift``, ``notes``; a finding has
        ``key``, ``title``, ``value``, ``interval``, ``p_value``, ``chance``, ``how``, ``reading``.
    """
    rng = np.random.default_rng(random_state)
    notes: list[str] = []
    known = _known(yt, task)
    rows_s, rows_t = _some(len(space.Xs), rng), _some(len(space.Xt), rng)
    for side, rows, n in (("source", rows_s, len(space.Xs)), ("target", rows_t, len(space.Xt))):
        if len(rows) < n:
            notes.append(f"Gaps are measured on {len(rows):,} of {n:,} {side} rows, at random.")
    zs, zt = space.Xs[rows_s], space.Xt[rows_t]
    grouped = _groups(groups_s, groups_t, rows_s, rows_t, notes)
    gaps, auc = _gaps(zs, zt, grouped, random_state, rng, notes)
    found: dict[str, Any] = {"gaps": gaps, "prior": None, "per_class": None}
    if task == "classification" and ys is not None:
        labels = None if yt is None or not known.any() else yt[known]
        found["prior"] = class_shares(space, ys, labels, auc, random_state, notes)
        by, there, who = space.Xt[known], labels, "labels"
        if labels is None:
            by, there, who = space.Xt, _predicted(space, ys), "predictions"
        assert there is not None
        found["per_class"] = _classes(space.Xs, ys, by, there, who, random_state)
        if labels is not None:
            gaps += _otdd(space.Xs, ys, by, labels, random_state, notes)
    elif task == "regression" and ys is not None and known.any() and yt is not None:
        found["prior"] = values(np.asarray(ys, float), np.asarray(yt, float)[known])
    elif task == "multilabel" and ys is not None and yt is not None and known.any():
        notes.append("Class shares of several labels a row are not compared.")
    found["drift"] = _drift(Xs, Xt, names, rng)
    return found | {"notes": notes}


def finding(
    key: str,
    title: str,
    value: float,
    reading: str,
    *,
    how: str,
    interval: Interval | None = None,
    p_value: float | None = None,
    chance: float | None = None,
    troubles: tuple[Trouble, ...] = (),
) -> dict[str, Any]:
    """One line of the page."""
    return {
        "key": key,
        "title": title,
        "value": float(value),
        "interval": None if interval is None else interval.as_dict(),
        "p_value": p_value,
        "chance": chance,
        "how": how,
        "reading": reading,
        "troubles": [f"{t.reason}. {t.remedy}" for t in troubles],
    }


def _gaps(
    zs: Array,
    zt: Array,
    groups: tuple[Array, Array] | None,
    seed: int,
    rng: np.random.Generator,
    notes: list[str],
) -> tuple[list[dict[str, Any]], float]:
    far = _domain_auc(zs, zt, groups, seed, notes)
    test = mmd_test(zs, zt, random_state=seed)
    sliced = sliced_wasserstein(zs, zt, random_state=seed)
    coral, chance = coral_distance(zs, zt), _dealt(zs, zt, rng)
    return [
        finding(
            "domain_auc",
            "domain AUC",
            far.auc.value,
            readings.separation(far.auc),
            how=far.auc.how,
            interval=far.auc,
            chance=0.5,
            troubles=far.troubles,
        ),
        finding(
            "a_distance",
            "proxy A-distance",
            far.value.value,
            readings.a_distance(far.value),
            how=far.value.how,
            interval=far.value,
            chance=0.0,
        ),
        finding(
            "mmd",
            "MMD",
            test.value,
            readings.mmd(test.p_value),
            how=test.how,
            p_value=test.p_value,
            troubles=test.troubles,
        ),
        finding(
            "sliced_wasserstein",
            "sliced Wasserstein",
            sliced.value,
            readings.against_chance(
                sliced.value, sliced.info["chance"], "distributions of projections"
            ),
            how=sliced.how,
            interval=sliced.interval,
            chance=sliced.info["chance"],
        ),
        finding(
            "coral_distance",
            "CORAL distance",
            coral,
            readings.against_chance(coral, chance, "covariances"),
            how="|C_s - C_t|^2 / 4 d^2",
            chance=chance,
        ),
    ], far.auc.value


def _domain_auc(
    zs: Array, zt: Array, groups: tuple[Array, Array] | None, seed: int, notes: list[str]
) -> Any:
    if groups is not None:
        try:
            return a_distance(
                zs, zt, groups_s=groups[0], groups_t=groups[1], random_state=seed, max_rows=MAX_ROWS
            )
        except DataError as error:  # too few groups for folds: say it, and go on without
            notes.append(f"The domain AUC ignores the groups: {error.what}.")
    return a_distance(zs, zt, random_state=seed, max_rows=MAX_ROWS)


def _otdd(
    zs: Array, ys: Array, zt: Array, yt: Array, seed: int, notes: list[str]
) -> list[dict[str, Any]]:
    if importlib.util.find_spec("ot") is None:
        notes.append("OTDD is left out: POT is not installed (pip install 'isthmus[transport]').")
        return []
    from isthmus.discrepancy.otdd import otdd

    ys, yt = ys.astype(str), yt.astype(str)
    found = otdd(zs, ys, zt, yt, random_state=seed)
    between = np.asarray(found.info["class_distances"])
    here, there = found.info["source_classes"], found.info["target_classes"]
    shared = [name for name in here if name in there]
    own = sum(there[int(between[here.index(name)].argmin())] == name for name in shared)
    return [
        finding(
            "otdd",
            "OTDD (with labels)",
            found.value,
            readings.otdd(own, len(shared)),
            how=found.how,
            interval=found.interval,
            troubles=found.troubles,
        )
    ]


def _classes(
    zs: Array, ys: Array, zt: Array, yt: Array, who: str, seed: int
) -> dict[str, Any] | None:
    """How far each class moved towards another one, and whether a classifier sees it."""
    ys, yt = ys.astype(str), yt.astype(str)
    names = [str(n) for n in np.unique(ys)]
    if len(names) < 2:
        return None
    means = np.stack([zs[ys == name].mean(axis=0) for name in names])
    rows = []
    for i, name in enumerate(names):
        here, there = zs[ys == name], zt[yt == name]
        entry: dict[str, Any] = {"class": name, "source": len(here), "target": len(there)}
        entry |= {"towards": None, "other": None, "auc": None, "reading": "no target row"}
        if len(there):
            others = np.delete(np.arange(len(names)), i)
            ways = means[others] - means[i]
            length = np.maximum((ways**2).sum(axis=1), np.finfo(float).tiny)
            part = ways @ (there.mean(axis=0) - means[i]) / length
            entry["towards"], entry["other"] = float(part.max()), names[others[part.argmax()]]
            entry["reading"] = readings.class_gap(entry["towards"], entry["other"])
        if min(len(here), len(there)) >= FEW:
            auc = a_distance(here, there, random_state=seed, max_rows=MAX_ROWS).auc
            entry["auc"] = auc.as_dict()
        rows.append(entry)
    rows.sort(key=lambda e: -(e["towards"] if e["towards"] is not None else -np.inf))
    return {"by": who, "classes": rows}


def _drift(
    Xs: Array, Xt: Array, names: Sequence[str] | None, rng: np.random.Generator
) -> dict[str, Any]:
    parts = [np.asarray(X[_some(len(X), rng, 5 * MAX_ROWS)]) for X in (Xs, Xt)]
    found = drift(*parts, names=names)
    order = np.argsort(-found.statistic, kind="stable")[:SHOWN]
    count, total = int(found.drifted.sum()), len(found.names)
    return {
        "drifted": count,
        "features": total,
        "named": names is not None,
        "level": found.level,
        "worst": [
            {
                "feature": found.names[i],
                "statistic": float(found.statistic[i]),
                "adjusted_p": float(found.adjusted[i]),
                "shift": float(found.shift[i]) if np.isfinite(found.shift[i]) else None,
            }
            for i in order
            if found.drifted[i]
        ],
        "reading": readings.drift(count, total, found.level),
    }


def _predicted(space: Space, ys: Array) -> Array:
    """Class of each target row, by a head on the source."""
    names, codes = np.unique(ys.astype(str), return_inverse=True)
    if len(names) < 2:
        return np.full(len(space.Xt), names[0], dtype=object)
    head = make_head("logistic", "classification").fit(space.Xs, codes)
    return np.asarray(names[head.predict(space.Xt)])


def _dealt(zs: Array, zt: Array, rng: np.random.Generator) -> float:
    """CORAL distance of the pooled rows dealt out at random, mean of a few deals."""
    both = np.concatenate([zs, zt])
    values = []
    for _ in range(DEALS):
        order = rng.permutation(len(both))
        values.append(coral_distance(both[order[: len(zs)]], both[order[len(zs) :]]))
    return float(np.mean(values))


def _some(n: int, rng: np.random.Generator, most: int = MAX_ROWS) -> Array:
    return np.sort(rng.choice(n, most, replace=False)) if n > most else np.arange(n)


def _known(yt: Array | None, task: Task | None) -> Array:
    """(n_t,) bool: target rows with a label."""
    if yt is None:
        return np.zeros(0, dtype=bool)
    if task == "regression":
        return np.isfinite(np.asarray(yt, dtype=float))
    if task == "multilabel":
        return np.ones(len(yt), dtype=bool)
    return np.array([value is not None for value in yt], dtype=bool)


def _groups(
    groups_s: Array | None, groups_t: Array | None, rows_s: Array, rows_t: Array, notes: list[str]
) -> tuple[Array, Array] | None:
    """Names of both sides, kept apart; one side alone has no use."""
    if groups_s is None or groups_t is None:
        return None
    notes.append("Rows of one group lie on one side of every fold of the domain AUC.")
    pair = (("s", groups_s[rows_s]), ("t", groups_t[rows_t]))
    here, there = (np.array([f"{mark}:{g}" for g in names]) for mark, names in pair)
    return here, there
