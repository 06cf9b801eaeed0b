"""Figures of a regressor, in the unit of its target."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.evaluate import replicates as rep
from isthmus.evaluate.measure import Figure, Measured
from isthmus.types import Array


def measure(y_true: Any, *, predicted: Any) -> Measured:
    """MAE, RMSE, R2, median absolute error and Spearman's rank correlation.

    R2 and Spearman are undefined where the truth is constant (scikit-learn would say 0 or 1).
    """
    from sklearn.metrics import (
        mean_absolute_error,
        mean_squared_error,
        median_absolute_error,
        r2_score,
    )

    y, z = _numbers(y_true, "y_true"), _numbers(predicted, "predicted")
    if y.shape != z.shape:
        raise DataError(f"{len(z)} predictions for {len(y)} rows", where="predicted")
    result = Measured(n=len(y))
    rank = rep.spearman(y, z)
    flat = len(np.unique(y)) < 2
    reason = "one test row" if len(y) < 2 else "the true values are all equal"
    result.figures |= {
        "mae": Figure(float(mean_absolute_error(y, z))),
        "rmse": Figure(float(np.sqrt(mean_squared_error(y, z)))),
        "r2": Figure(np.nan if flat else float(r2_score(y, z)), reason),
        "median_ae": Figure(float(median_absolute_error(y, z))),
        "spearman": Figure(
            float(rank(np.ones((len(y), 1)))[0]),
            reason if flat else "the predictions are all equal",
        ),
    }
    error = np.abs(y - z)
    mean, square, middle = rep.row_mean(error), rep.row_mean(error**2), rep.median(error)
    explained = rep.r_squared(y, z)

    def block(weights: Array) -> dict[str, Array]:
        return {
            "mae": mean(weights),
            "rmse": np.sqrt(square(weights)),
            "r2": explained(weights),
            "median_ae": middle(weights),
            "spearman": rank(weights),
        }

    result.add_block(result.figures, block)
    return result


def _numbers(values: Any, where: str) -> Array:
    array = np.asarray(values)
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError("values are not numbers", where=where) from None
    if array.ndim != 1 or not np.isfinite(array).all():
        bad = "not one value a row" if array.ndim != 1 else "missing or infinite values"
        raise DataError(bad, where=where, remedy="Score the rows that have a number")
    return array
