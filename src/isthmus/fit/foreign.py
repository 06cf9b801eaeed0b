"""Layer 5: adapters of skada as they are: `fit_transform(X, y, sample_domain=...)` -> Adaptation.

Nothing of that library is imported here. What its adapters return (an array, an array and a dict
with `sample_weight`, or an array, labels and a dict) is read by shape; rows of the target are
marked as it marks them, in labels that cannot collide: classes are numbered from 0 and -1 stands
for "no label". No target label is passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Adaptation, Array

SOURCE, TARGET = 1, -2  # skada's own numbers for a single domain of each kind


@dataclass(frozen=True)
class ForeignMap:
    """Target rows through a fitted adapter of another library."""

    adapter: Any

    def __call__(self, rows: Any) -> Any:
        marks = np.full(len(rows), TARGET)
        return np.asarray(self.adapter.transform(rows, sample_domain=marks, allow_source=False))


def is_foreign(adapter: Any) -> bool:
    """Whether it speaks skada's language and not ours."""
    return not hasattr(adapter, "adapt")


def adapt_foreign(adapter: Any, Xs: Array, ys: Array, Xt: Array, *, classes: bool) -> Adaptation:
    """What a fitted clone of the adapter makes of two domains.

    Parameters
    ----------
    adapter : object with ``fit_transform`` and ``transform``
        A fresh clone; it is fitted.
    classes : bool
        Whether `ys` are classes (else numbers).

    Raises
    ------
    UsageError
        If it is no adapter: a pipeline, an estimator, a network.
    DataError
        If it changes the number of rows, or its rows, weights or labels cannot be read.
    """
    who = type(adapter).__name__
    _check(adapter, who)
    n, m = len(Xs), len(Xt)
    names = np.empty(0)
    if classes:
        names, codes = np.unique(ys, return_inverse=True)
        y = np.concatenate([codes, np.full(m, -1)])
    else:
        y = np.concatenate([np.asarray(ys, dtype=float), np.full(m, np.nan)])
    marks = np.repeat([SOURCE, TARGET], [n, m])
    out = adapter.fit_transform(np.concatenate([Xs, Xt]), y, sample_domain=marks)
    rows, labels, more = _parts(out, who)
    if len(rows) != n + m:
        raise DataError(
            f"{who} returned {len(rows)} rows for {n + m}",
            why="the rows and their labels would not belong together",
            remedy="Draw a sample before fitting, and use an adapter that keeps all rows",
        )
    unknown = sorted(set(more) - {"sample_weight", "sample_domain", "y"})
    if unknown:
        raise DataError(f"{who} returned {', '.join(unknown)}, which nothing here reads")
    weights = more.get("sample_weight")
    if weights is not None:
        weights = np.asarray(weights, dtype=float)[:n]
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
            raise DataError(f"{who} gave weights that are negative, not finite or all zero")
        weights = weights / weights.mean()
    if labels is not None:
        labels = labels[n:]
        if np.isnan(np.asarray(labels, dtype=float)).any():
            raise DataError(f"{who} gave some target rows no label")
        labels = names[np.asarray(labels, dtype=int)] if classes else np.asarray(labels, float)
    return Adaptation(rows[:n], weights, ForeignMap(adapter), labels, info={"adapter": who})


def _check(adapter: Any, who: str) -> None:
    if hasattr(adapter, "steps"):
        raise UsageError(
            f"{who} is a pipeline",
            why="it brings a classifier of its own",
            remedy="Pass the adapter itself, e.g. skada.CORALAdapter() instead of skada.CORAL()",
        )
    if hasattr(adapter, "predict") or not hasattr(adapter, "fit_transform"):
        raise UsageError(
            f"{who} is not an adapter",
            why="it has no fit_transform, or it is an estimator itself",
            remedy="Use an Adapter of isthmus.adapt, or one of skada's classes ...Adapter; "
            "fit estimators on their own",
        )
    if not hasattr(adapter, "transform"):
        raise UsageError(f"{who} has no transform", why="new target rows could not be mapped")


def _parts(out: Any, who: str) -> tuple[Array, Any, dict[str, Any]]:
    """(rows, labels or None, what else) of a value of one, two or three parts."""
    labels: Any = None
    more: dict[str, Any] = {}
    if isinstance(out, tuple):
        rest = list(out[1:])
        if rest and isinstance(rest[-1], dict):
            more = {k: v for k, v in rest.pop().items() if v is not None}
        labels = rest.pop() if rest else None
        if rest:
            raise DataError(f"{who} returned {len(out)} parts, at most 3 can be read")
        out = out[0]
    rows = np.asarray(out)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
        raise DataError(f"{who} returned {rows.dtype} of shape {rows.shape}, no finite features")
    return rows, more.get("y", labels), more
