"""Layer 6: what validators read of a candidate: its probabilities, checked, in float64."""

from __future__ import annotations

import numpy as np

from isthmus.errors import DataError
from isthmus.select.validate.base import Predict, Scene, Trial
from isthmus.types import Array

OFF = 1e-3  # a row of float16 or float32 probabilities adds up to 1 within this


def of_target(scene: Scene, trial: Trial) -> Array:
    """(n_t, K) probabilities of the target rows, each row adding up to 1.

    Raises
    ------
    DataError
        If they have another shape, are no probabilities, or there are fewer than two classes.
    """
    return checked(trial.target_proba, len(scene.Xt), scene.n_classes, f"{trial.name}, target")


def asked(predict: Predict, X: Array, n_classes: int, where: str) -> Array:
    """(m, K) answers of a candidate to other rows; what it raises becomes a reason."""
    try:
        answer = predict(X)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise DataError(f"no answer for {len(X)} rows", where=where, why=str(error)) from error
    return checked(answer, len(X), n_classes, where)


def checked(values: Array, rows: int, n_classes: int, where: str) -> Array:
    """A float64 copy of (rows, n_classes) probabilities.

    Raises
    ------
    DataError
        See `of_target`.
    """
    P = np.array(values, dtype=np.float64)
    if n_classes < 2:
        raise DataError(f"{n_classes} class", where=where, why="there is nothing to tell apart")
    if P.shape != (rows, n_classes):
        raise DataError(
            f"probabilities of shape {P.shape}", where=where, why=f"expected {(rows, n_classes)}"
        )
    if not rows:
        raise DataError("no rows", where=where)
    bad = ~np.isfinite(P).all(axis=1)
    if bad.any():
        raise DataError(f"{int(bad.sum())} of {rows} rows are not finite", where=where)
    total = P.sum(axis=1)
    if P.min() < -OFF or np.abs(total - 1).max() > OFF:
        raise DataError(
            "these are no probabilities",
            where=where,
            why=f"smallest {P.min():.3g}, rows add up to {total.min():.3g} ... {total.max():.3g}",
        )
    P = np.maximum(P, 0.0)
    return P / P.sum(axis=1, keepdims=True)


def shares(codes: Array, n_classes: int) -> Array:
    """(K,) shares of the classes among codes."""
    return np.bincount(codes, minlength=n_classes) / len(codes)
