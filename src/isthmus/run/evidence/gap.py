"""Layer 8: figures of the gap for a report: components for the map, measures, calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.evaluate.calibration import reliability
from isthmus.fit.adapted import Space, common_space
from isthmus.run.case import Case
from isthmus.run.checks.quick import thinned
from isthmus.run.evidence.rows import Kept, in_space
from isthmus.run.evidence.scored import Scored
from isthmus.run.extract import Extracted, Part
from isthmus.select import readings
from isthmus.select.diagnose import diagnose_features
from isthmus.select.routes.base import ModelFactory
from isthmus.types import Array

COMPONENTS = 24  # what other maps than PCA start from
MEASURED = 700  # rows of a side; the measures cost more than linear time
BINS = 10
COLUMN_BINS, SHOWN_COLUMNS = 16, 6


def components(kept: Kept, space: Space, features: Extracted) -> tuple[Array, list[float]]:
    """Principal components of the map's rows; the other rows are projected.

    Returns
    -------
    ndarray of shape (n, c)
        In units of the common space, c <= 24.
    list of float
        Share of the variance that each of them holds.
    """
    Z = in_space(kept, list(range(len(kept))), features, space)
    shown = np.array(kept.on_map)
    centre = Z[shown].mean(axis=0)
    Z = Z - centre
    _, power, right = np.linalg.svd(Z[shown], full_matrices=False)
    total = max(float((power**2).sum()), 1e-300)
    width = min(COMPONENTS, len(power))
    signs = np.sign(right[:width][np.arange(width), np.abs(right[:width]).argmax(axis=1)])
    C = Z @ (right[:width] * np.where(signs == 0, 1, signs)[:, None]).T
    if width < 2:
        C = np.column_stack([C, np.zeros((len(C), 2 - width))])
    return C, [round(float(p), 5) for p in (power[:width] ** 2) / total]


def gaps(
    case: Case,
    features: Extracted,
    scored: Scored | None,
    new_model: ModelFactory,
    *,
    seed: int,
) -> dict[str, Any] | None:
    """`isthmus.diagnose`'s findings for this run, of at most 700 rows a side, or None."""
    if features.source is None:
        return None
    here, there = features.source, features.target
    truth = None
    if scored is not None and scored.role == "test" and features.test is not None:
        there, truth = features.test, scored.truth
    rows = thinned(here.X, seed, MEASURED), thinned(there.X, seed, MEASURED)
    first, other = _some(here, rows[0]), _some(there, rows[1])
    space = common_space(new_model().processor, first.X, other.X)
    found = diagnose_features(
        space,
        Xs=first.X,
        Xt=other.X,
        task=case.task,
        ys=first.samples.labels,
        yt=None if truth is None else truth[rows[1]],
        groups_s=first.samples.groups,
        groups_t=other.samples.groups,
        names=_names(features),
        random_state=seed,
    )
    found["summary"] = readings.summary(found)
    found["measured"] = {"source": len(first.X), "target": len(other.X)}
    found["columns"] = _columns(first, other, found, features)
    return found


def _some(part: Part, rows: Array) -> Part:
    return replace(part, samples=part.samples.take(rows), X=np.asarray(part.X[rows]))


def _names(features: Extracted) -> list[str] | None:
    names = getattr(features.backbone, "features", None)
    fits = isinstance(names, list) and len(names) == features.target.X.shape[1]
    return list(map(str, names)) if fits and names is not None else None


def _columns(
    here: Part, there: Part, found: dict[str, Any], features: Extracted
) -> list[dict[str, Any]]:
    """Histograms of the columns that drifted most, on common bins."""
    names = _names(features)
    if names is None:
        return []
    entries = []
    for line in found["drift"]["worst"][:SHOWN_COLUMNS]:
        k = names.index(line["feature"])
        a, b = np.asarray(here.X[:, k], float), np.asarray(there.X[:, k], float)
        both = np.concatenate([a, b])
        values = np.unique(both)
        if len(values) <= COLUMN_BINS:
            edges = np.append(values, values[-1] + 1.0)
            discrete = True
        else:
            low, high = np.quantile(both, [0.005, 0.995])
            if high <= low:
                low, high = both.min(), both.max()
            edges, discrete = np.linspace(low, high, COLUMN_BINS + 1), False
        counts = [np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x) for x in (a, b)]
        entries.append(
            {
                "column": line["feature"],
                "edges": [float(e) for e in edges],
                "discrete": discrete,
                "source": [round(float(c), 5) for c in counts[0]],
                "target": [round(float(c), 5) for c in counts[1]],
                "statistic": line["statistic"],
            }
        )
    return entries


def reliability_pair(scored: Scored) -> dict[str, Any] | None:
    """Reliability before and after the temperature, with the same bins, and both ECEs."""
    if scored.task != "classification" or scored.proba is None:
        return None
    found: dict[str, Any] = {"role": scored.role, "rows": len(scored.rows)}
    for name, proba in (("before", scored.before), ("after", scored.proba)):
        if proba is None:
            found[name] = None
            continue
        names = np.array(scored.classes, dtype=object)[proba.argmax(axis=1)]
        right = names.astype(str) == scored.truth.astype(str)
        table = reliability(proba.max(axis=1).clip(0, 1), right, bins=BINS)
        found[name] = table.as_dict() | {"ece": table.ece}
    return found
