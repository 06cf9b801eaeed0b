"""Layer 5: names and numbers of the rows as the heads want them: codes, floats, bool columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.types import Array, Task


def encode_targets(y: Any, n: int, *, task: Task, classes: tuple[str, ...]) -> Array:
    """Codes into `classes` (n,) int64, finite numbers (n,) float64, or labels (n, k) bool.

    Raises
    ------
    DataError
        Unlabelled rows, names outside `classes`, lengths that differ.
    UsageError
        Unknown task, no class names, or one name twice.
    """
    if task == "regression":
        values = np.asarray(y, dtype=np.float64)
        if values.shape != (n,) or not np.isfinite(values).all():
            raise DataError(f"{n} finite target values are needed", where="y")
        return values
    if not len(classes):
        raise UsageError("no class names", remedy="Pass classes=(...) in the wanted order")
    if task == "multilabel":
        values = np.asarray(y)
        if values.shape != (n, len(classes)):
            raise DataError(
                f"targets of shape {values.shape}",
                where="y",
                why=f"expected {n} rows of {len(classes)} labels",
            )
        return values.astype(bool)
    if task != "classification":
        raise UsageError(f"unknown task {task!r}")
    names = list(y)
    if len(names) != n:
        raise DataError(f"{len(names)} labels for {n} rows", where="y")
    place = {name: i for i, name in enumerate(classes)}
    if len(place) != len(classes):
        raise UsageError("a class name occurs twice", where="classes")
    unknown = [name for name in names if name not in place]
    if unknown:
        missing = sum(name is None for name in unknown)
        if missing:
            raise DataError(f"{missing} rows have no label", where="y")
        raise DataError(
            f"the label {plain_repr(unknown[0])} is not among the classes",
            where="y",
            why=f"{len(unknown)} such rows",
        )
    return np.array([place[name] for name in names], dtype=np.int64)
