"""The one check of features and labels that every score makes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from isthmus.errors import DataError
from isthmus.types import Array


def to_numpy(values: Any) -> Array:
    """Any array on the host, as NumPy."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def check_labels(labels: Any, rows: int, *, who: str) -> Array:
    """Labels as a 1-d NumPy array without gaps, one for each of `rows` rows.

    Raises
    ------
    DataError
        If the number differs or a label is missing.
    """
    y = to_numpy(labels)
    if y.ndim != 1 or len(y) != rows:
        raise DataError(f"labels of shape {y.shape} for {rows} rows", where=who)
    missing = sum(v is None or (isinstance(v, float) and v != v) for v in y.tolist())
    if missing:
        raise DataError(f"{missing} rows have no label", where=who, remedy="Leave them out")
    return y


def check_codes(labels: Any, rows: int, *, who: str) -> Array:
    """Labels as positions 0 .. k - 1.

    Raises
    ------
    DataError
        As in `check_labels`, or if there is one class only.
    """
    classes, codes = np.unique(check_labels(labels, rows, who=who), return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"{len(classes)} class in {rows} rows", where=who, why="a score compares classes"
        )
    return codes


def check_features(features: Any, *, who: str, numpy: bool = False) -> tuple[ModuleType, Any]:
    """Features as a finite float64 matrix of their namespace.

    Raises
    ------
    DataError
        If they are not 2-d, have no row or column, or hold NaN or infinity.
    """
    if numpy or not array_api_compat.is_array_api_obj(features):
        features = to_numpy(features)
    if features.ndim != 2 or 0 in features.shape:
        raise DataError(f"features of shape {tuple(features.shape)}, not (rows, d)", where=who)
    xp = array_api_compat.array_namespace(features)
    features = xp.astype(features, xp.float64, copy=False)
    if not bool(xp.all(xp.isfinite(features))):
        raise DataError("the features hold NaN or infinity", where=who)
    return xp, features


def like(xp: ModuleType, values: Array, other: Any) -> Any:
    """A NumPy array in the namespace and on the device of `other`."""
    return xp.asarray(values, device=array_api_compat.device(other))


def one_hot(xp: ModuleType, codes: Array, other: Any) -> Any:
    """(n, k) float64 indicator of the classes."""
    return like(xp, np.eye(int(codes.max()) + 1)[codes], other)


def class_means(xp: ModuleType, F: Any, codes: Array) -> tuple[Any, Any]:
    """(k, d) means and (k,) counts of the classes."""
    indicator = one_hot(xp, codes, F)
    counts = xp.sum(indicator, axis=0)
    return (indicator.T @ F) / counts[:, None], counts
