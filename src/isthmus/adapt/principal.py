"""Layer 4: principal directions of a set of rows, with signs that do not depend on the machine."""

from __future__ import annotations

from typing import Any

import array_api_compat

from isthmus.adapt import eigen
from isthmus.adapt.kernels import BLOCK

FORMED = 4000  # up to this order the matrix is formed; beyond it is applied row block by row block


def directions(xp: Any, X: Any, k: int) -> tuple[Any, Any, Any]:
    """Mean (d,), k orthonormal principal directions (d, k) and their variances (k,).

    Fewer than `k` where the rank is lower, but at least one. Mean and directions are float64.
    Cost O(n d min(n, d)) time and, beside X, O(min(n, d)^2) memory.
    """
    n, d = X.shape
    mean = xp.mean(xp.astype(X, xp.float64), axis=0)
    k = max(1, min(k, d, n - 1))
    if n < d and n <= FORMED:
        centred = xp.astype(X, xp.float64) - mean
        gram = centred @ centred.T
        found = eigen.leading(xp, lambda V: gram @ V, n, k, like=gram)
        vectors = centred.T @ found.vectors
    else:
        like = mean[:, None]
        if d <= FORMED:
            gram = _times(xp, X, mean, None)
            found = eigen.leading(xp, lambda V: gram @ V, d, k, like=like)
        else:
            found = eigen.leading(xp, lambda V: _times(xp, X, mean, V), d, k, like=like)
        vectors = found.vectors
    values = found.values
    kept = max(int(xp.sum(xp.astype(values > values[0] * 1e-12, xp.int64))), 1)
    vectors, values = vectors[:, :kept], values[:kept]
    length = xp.linalg.vector_norm(vectors, axis=0)
    if float(xp.min(length)) == 0:  # no variance at all: any direction will do
        device = array_api_compat.device(X)
        vectors = xp.eye(d, dtype=vectors.dtype, device=device)[:, :1]
    else:
        vectors, _ = xp.linalg.qr(vectors / length)
    variance = xp.where(values > 0, values, xp.zeros_like(values)) / max(n - 1, 1)
    return mean, eigen.signed(xp, vectors), variance


def _times(xp: Any, X: Any, mean: Any, V: Any) -> Any:
    """``C' C V`` for the centred rows C (V None: the matrix itself), block by block."""
    out: Any = 0.0
    for at in range(0, X.shape[0], BLOCK):
        part = xp.astype(X[at : at + BLOCK], xp.float64) - mean
        out = out + part.T @ (part if V is None else part @ V)
    return out
