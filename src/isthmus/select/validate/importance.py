"""Layer 6: what the weighted validators share: losses of source rows, and a check of weights."""

from __future__ import annotations

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.probabilities import checked
from isthmus.types import Array

FEWEST = 5.0  # effective rows below which a weighted mean is the opinion of a handful
LEAST_ROWS = 10
LEAST = 1e-12  # smallest probability whose logarithm is taken


def losses(scene: Scene, trial: Trial, loss: str) -> tuple[Array, Array]:
    """Loss of the source rows, out of fold: 0 or 1 for "accuracy", -log p for "log_loss".

    Returns
    -------
    lost : ndarray of shape (m,)
    rows : ndarray of shape (m,), int
        Rows that no fold held out (not finite) are left out.

    Raises
    ------
    UsageError
        If `loss` is neither.
    DataError
        If labels and rows do not match, or fewer than 10 rows were held out.
    """
    if loss not in ("accuracy", "log_loss"):
        raise UsageError(f"loss={loss!r}", why="known: accuracy, log_loss")
    P, ys = np.asarray(trial.source_proba, dtype=np.float64), np.asarray(scene.ys)
    where = f"{trial.name}, source"
    if P.shape != (len(scene.Xs), scene.n_classes) or ys.shape != (len(P),):
        raise DataError(
            f"probabilities of shape {P.shape}, labels of shape {ys.shape}",
            where=where,
            why=f"expected {(len(scene.Xs), scene.n_classes)}",
        )
    rows = np.flatnonzero(np.isfinite(P).all(axis=1))
    if len(rows) < LEAST_ROWS:
        raise DataError(
            f"{len(rows)} held-out rows", where=where, why=f"at least {LEAST_ROWS} are needed"
        )
    P, y = checked(P[rows], len(rows), scene.n_classes, where), ys[rows]
    if loss == "accuracy":
        return (P.argmax(axis=1) != y).astype(np.float64), rows
    return -np.log(np.maximum(P[np.arange(len(P)), y], LEAST)), rows


def usable(weights: Array, n: int, rows: Array, who: str) -> Array:
    """The weights of `rows`, of n source rows, in float64.

    Raises
    ------
    DataError
        If these are no weights of n rows, or fewer than five rows carry them all
        (``(sum w)^2 / sum w^2``).
    """
    w = np.array(weights, dtype=np.float64)
    w = w[rows] if w.shape == (n,) else w[:0]
    if not len(w) or not np.isfinite(w).all() or w.min() < 0 or not w.sum() > 0:
        raise DataError(f"these are no weights of {n} source rows", where=who)
    effective = w.sum() ** 2 / (w**2).sum()
    if effective < FEWEST:
        raise DataError(
            f"the weights leave {effective:.1f} effective source rows of {len(w)}",
            where=who,
            why="source and target hardly overlap",
        )
    return w
