"""Layer 6: circular validation in which every candidate comes back by the same simple head."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.circles import pseudo_labels
from isthmus.select.validate.probabilities import shares
from isthmus.select.validate.scenes import once
from isthmus.types import Array


class CircularCapacity(Validator):
    """As `Circular`, but the way back is one linear discriminant on unadapted rows for all.

    Source rows go to ``argmin_k (x - m_k)' (W + reg I)^-1 (x - m_k)`` with m_k the mean and W the
    pooled covariance of the target rows under the candidate's predictions, all features on the
    target's scale; the score is the share that comes back to its own class. A map of high
    capacity cannot undo its own errors, because it does not come back, and a class weighs the
    same however many rows were given to it.

    Parameters
    ----------
    reg : float, default=0.1
        Ridge on W in units of a feature's variance.

    Notes
    -----
    The covariance is decomposed once: with T = W + sum_k q_k m_k m_k' the total covariance,
    coordinates in which T + reg I is the identity make W + reg I invertible by a K x K system
    (Woodbury), and a candidate costs two small products.

    References
    ----------
    Zhong et al. 2010 for the circle; Fisher 1936 for the head. That plain circular validation
    prefers capacity is a finding on the project's own tasks.
    """

    name: ClassVar[str] = "circular-capacity"

    def __init__(self, *, reg: float = 0.1) -> None:
        self.reg = reg

    def score(self, scene: Scene, trial: Trial) -> float:
        if not self.reg > 0:
            raise UsageError(f"reg={self.reg!r}", why="it must be above 0")
        codes = pseudo_labels(scene, trial)
        Zt, Zs = once(scene, f"coordinates for the way back {self.reg}", self._coordinates)
        share = shares(codes, scene.n_classes)
        known = np.flatnonzero(share)
        indicator = (codes[:, None] == known) / (share[known] * len(codes))
        means = indicator.T @ Zt
        G = means @ means.T
        each = 1 / share[known]
        coef = each[:, None] * np.linalg.solve(np.diag(each) - G, means)
        scores = Zs @ coef.T - 0.5 * np.einsum("kr,kr->k", coef, means)
        return float((known[scores.argmax(axis=1)] == np.asarray(scene.ys)).mean())

    def _coordinates(self, scene: Scene) -> tuple[Array, Array]:
        """Both domains where the target's covariance plus `reg` is the identity."""
        Zt, Zs = (np.asarray(X, dtype=np.float64) for X in (scene.Xt, scene.Xs))
        mean, scale = Zt.mean(axis=0), Zt.std(axis=0)
        keep = scale > 1e-12 * max(float(np.abs(Zt).max()), 1e-300)
        if not keep.any():
            raise DataError("no feature varies in the target", where=self.name)
        Zt, Zs = ((X[:, keep] - mean[keep]) / scale[keep] for X in (Zt, Zs))
        n, d = Zt.shape
        if d <= n:
            spread, V = np.linalg.eigh(Zt.T @ Zt / n)
        else:  # class means lie among the rows: what is at right angles to all of them cancels
            spread, U = np.linalg.eigh(Zt @ Zt.T / n)
            real = spread > 1e-10 * spread[-1]
            spread, V = spread[real], Zt.T @ (U[:, real] / np.sqrt(n * spread[real]))
        V = V / np.sqrt(np.maximum(spread, 0) + self.reg)
        return Zt @ V, Zs @ V
