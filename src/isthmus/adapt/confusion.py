"""Layer 4: target priors from a confusion matrix, plain (BBSE) and regularised (RLLS)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from isthmus.types import Array


def joint(held: Array, codes: Array, k: int) -> Array:
    """(k, k) shares: row i predicted, column j true."""
    return np.asarray(held.T @ np.eye(k)[codes]) / len(codes)


def inverted(C: Array, mu: Array) -> tuple[Array, float]:
    """BBSE: w with ``C w = mu`` (least squares where C is singular) and C's condition number."""
    w = np.linalg.lstsq(C, mu, rcond=1e-10)[0]
    values = np.linalg.svd(C, compute_uv=False)
    return w, float(values[0] / values[-1]) if values[-1] > 0 else float("inf")


def regularised(C: Array, mu: Array, rho: float) -> Array:
    """RLLS: ``1 + t`` for ``min |C t - (mu - C 1)| + rho |t|`` over ``t >= -1``.

    Norms are not squared. At the optimum t is also the ridge solution for
    ``ridge = rho |C t - b| / |t|``, whose right side grows more slowly than its left where they
    cross: bisection on the ridge, non-negative least squares inside.
    """
    k = C.shape[1]
    b = mu - C.sum(axis=1)
    size = float(np.linalg.norm(b))
    if size <= 1e-14 or np.linalg.norm(C.T @ b) <= rho * size:  # t = 0 is the optimum
        return np.ones(k)

    def solved(ridge: float) -> tuple[Array, float]:
        root = ridge**0.5
        shifted = np.concatenate([b + C.sum(axis=1), np.full(k, root)])
        t = nnls(np.vstack([C, root * np.eye(k)]), shifted)[0] - 1
        length = float(np.linalg.norm(t))
        return t, rho * float(np.linalg.norm(C @ t - b)) / max(length, 1e-300) - ridge

    low, high = -24.0, 6.0
    if solved(10**low)[1] <= 0:  # b is reached exactly and rho does not outweigh it
        return 1 + solved(10**low)[0]
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if solved(10**middle)[1] > 0 else (low, middle)
    return 1 + solved(10 ** (0.5 * (low + high)))[0]


def shares(w: Array, prior: Array) -> Array:
    """Class shares from weights: negative ones are 0, the sum is 1."""
    q = np.clip(w, 0, None) * prior
    return q / q.sum() if q.sum() > 0 else prior
