"""Layer 4: leading eigenvectors of the problems that subspace methods end in.

``max tr(W' B W)`` subject to ``W' (r I + G' G) W = I`` is what TCA, JDA and their kin solve. Its
matrix ``(r I + G' G)^-1 B`` is *not* symmetric: a symmetric solver applied to it returns other
vectors, which score below no adaptation. With ``A = r I + G' G`` the symmetric equivalent is
``A^(-1/2) B A^(-1/2)``, and `G` has one row a contrast (domain, class), so that ``A^(-1/2)`` is
the identity plus a few directions and is never formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np

from isthmus.types import Trouble

DENSE = 300  # below this order the whole matrix is decomposed
TOLERANCE = 1e-9
RESTARTS = 60
DEPTH = 6  # blocks of a Krylov space


@dataclass(frozen=True)
class Eigen:
    """Leading eigenpairs, largest first; `trouble` when the iteration stopped early."""

    values: Any
    vectors: Any
    trouble: Trouble | None = None


def leading(
    xp: Any, apply: Callable[[Any], Any], order: int, k: int, *, like: Any, start: Any = None
) -> Eigen:
    """The `k` algebraically largest eigenpairs of a symmetric operator; float64.

    Parameters
    ----------
    apply : callable
        ``(order, b) -> (order, b)``.
    like : array
        Gives the dtype and the device.
    start : array of shape (order, b), optional
        A first guess: the vectors of a problem nearby.

    Notes
    -----
    Dense up to order `DENSE`, else restarted block Krylov iteration with full
    orthogonalisation (Golub and Underwood 1977): all the work is products of the operator with
    blocks, on whatever device the arrays are.
    """
    width = min(k + 8, order)
    if order <= DENSE or DEPTH * width > order // 2:
        full = apply(xp.eye(order, dtype=like.dtype, device=_device(like)))
        values, vectors = xp.linalg.eigh((full + full.T) / 2)
        return Eigen(_top(xp, values, k), _top(xp, vectors, k))
    draw = np.random.default_rng(0).standard_normal((order, width))
    block = xp.asarray(draw, dtype=like.dtype, device=_device(like))
    if start is not None:
        block = xp.concat([start, block[:, start.shape[1] :]], axis=1)
    block, _ = xp.linalg.qr(block)
    worst, enough = np.inf, max(TOLERANCE, 50 * float(xp.finfo(like.dtype).eps))
    for _ in range(RESTARTS):
        Q, SQ = _krylov(xp, apply, block)
        small = Q.T @ SQ
        values, inner = xp.linalg.eigh((small + small.T) / 2)
        size = max(float(xp.max(xp.abs(values))), float(np.finfo(np.float64).tiny))
        values, inner = _top(xp, values, width), _top(xp, inner, width)
        block = Q @ inner
        gap = SQ @ inner[:, :k] - block[:, :k] * values[:k]
        worst = float(xp.max(xp.linalg.vector_norm(gap, axis=0))) / size
        if worst < enough:
            return Eigen(values[:k], block[:, :k])
        block, _ = xp.linalg.qr(block)
    trouble = Trouble(
        "not-converged",
        f"the eigenvectors have a relative residual of {worst:.1g} after {RESTARTS} restarts",
        "Ask for fewer components, or standardise the features",
    )
    return Eigen(values[:k], block[:, :k], trouble)


def _krylov(xp: Any, apply: Callable[[Any], Any], block: Any) -> tuple[Any, Any]:
    """Orthonormal basis Q of `DEPTH` Krylov blocks, and the operator's product with it."""
    Q, SQ = block, apply(block)
    fresh = SQ
    for _ in range(DEPTH - 1):
        # after a breakdown QR scales up noise: a second round makes it orthogonal again
        for _ in range(2):
            fresh = fresh - Q @ (Q.T @ fresh)
            fresh = fresh - Q @ (Q.T @ fresh)
            fresh, _ = xp.linalg.qr(fresh)
        Q, fresh = xp.concat([Q, fresh], axis=1), apply(fresh)
        SQ = xp.concat([SQ, fresh], axis=1)
    return Q, SQ


def constrained(
    xp: Any,
    apply: Callable[[Any], Any],
    contrasts: Any,
    ridge: float,
    k: int,
    *,
    start: Any = None,
) -> Eigen:
    """Leading solutions w of ``B w = v (ridge I + G' G) w``, each of unit length.

    Components whose value is not above rounding noise are left out, but one is always returned.

    Parameters
    ----------
    apply : callable
        Product with the symmetric matrix B, (d, b) -> (d, b).
    contrasts : array of shape (c, d)
        G; c is small.
    ridge : float
        > 0.
    """
    order = contrasts.shape[1]
    if contrasts.shape[0] < order:
        Q, R = xp.linalg.qr(contrasts.T)
        spread, turn = xp.linalg.eigh(R @ R.T)
        Q = Q @ turn
    else:
        spread, Q = xp.linalg.eigh(contrasts.T @ contrasts)
    spread = xp.where(spread > 0, spread, xp.zeros_like(spread))
    shrink = (xp.sqrt(ridge / (ridge + spread)) - 1)[:, None]

    def whiten(V: Any) -> Any:
        """``sqrt(ridge) A^(-1/2) V``."""
        return V + Q @ (shrink * (Q.T @ V))

    found = leading(
        xp, lambda V: whiten(apply(whiten(V))), order, min(k, order), like=contrasts, start=start
    )
    values = found.values / ridge
    kept = max(int(xp.sum(xp.astype(values > values[0] * 1e-14, xp.int64))), 1)
    vectors = whiten(found.vectors[:, :kept])
    vectors = vectors / xp.linalg.vector_norm(vectors, axis=0)
    return Eigen(values[:kept], vectors, found.trouble)


def signed(xp: Any, vectors: Any) -> Any:
    """Columns turned so that the entry of largest size is positive: signs are then the same
    on every machine."""
    return vectors * signs(xp, vectors)


def signs(xp: Any, vectors: Any) -> Any:
    """(k,) sign of the entry of largest size of each column."""
    where = xp.argmax(xp.abs(vectors), axis=0)
    peak = xp.stack([vectors[int(row), column] for column, row in enumerate(where)])
    return xp.where(peak < 0, -xp.ones_like(peak), xp.ones_like(peak))


def _top(xp: Any, array: Any, k: int) -> Any:
    """The last `k` entries (columns), turned round: the largest come first."""
    order = array.shape[-1]
    picked = xp.flip(xp.arange(order - k, order, device=_device(array)))
    return xp.take(array, picked, axis=array.ndim - 1)


def _device(array: Any) -> Any:
    return array_api_compat.device(array)
