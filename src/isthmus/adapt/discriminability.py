"""Layer 4: how much of a gap is marginal and how much is conditional (the balance factor)."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np


def separability(xp: Any, A: Any, B: Any) -> float:
    """A-distance ``2 (1 - 2 error)`` of a regularised linear discriminant, in [0, 2].

    Closed form, deterministic; the error is counted on the rows it was fitted on and averaged
    over the two sides, as the balance factor of MEDA and dynamic distribution adaptation is.
    """
    na, nb = int(A.shape[0]), int(B.shape[0])
    if not na or not nb:
        return 0.0
    A, B = xp.astype(A, xp.float64), xp.astype(B, xp.float64)
    ma, mb = xp.mean(A, axis=0), xp.mean(B, axis=0)
    ca, cb = A - ma, B - mb
    within = (ca.T @ ca + cb.T @ cb) / (na + nb)
    eye = xp.eye(within.shape[0], dtype=within.dtype, device=array_api_compat.device(within))
    ridge = 1e-2 * float(xp.linalg.trace(within)) / within.shape[0] + 1e-12
    direction = xp.linalg.solve(within + ridge * eye, (ma - mb)[:, None])[:, 0]
    cut = float((ma + mb) @ direction) / 2
    wrong = (
        float(xp.mean(xp.astype(A @ direction <= cut, xp.float64)))
        + float(xp.mean(xp.astype(B @ direction > cut, xp.float64)))
    ) / 2
    return float(2 * (1 - 2 * min(wrong, 0.5)))


def balance(xp: Any, Zs: Any, codes: np.ndarray, Zt: Any, pseudo: np.ndarray) -> float:
    """Share of the conditional gap: ``d_c / (d_c + d_m)`` (Wang et al. 2018, eq. 11).

    Parameters
    ----------
    codes, pseudo : ndarray
        Classes of the source rows and pseudo-classes of the target rows.

    Returns
    -------
    float
        In [0, 1]; 0.5 when neither gap can be seen.
    """
    marginal = separability(xp, Zs, Zt)
    gaps = []
    device = array_api_compat.device(Zs)
    for c in np.intersect1d(codes, pseudo):
        rows = [
            xp.take(Z, xp.asarray(np.flatnonzero(k == c), device=device), axis=0)
            for Z, k in ((Zs, codes), (Zt, pseudo))
        ]
        gaps.append(separability(xp, *rows))
    conditional = float(np.mean(gaps)) if gaps else 0.0
    total = conditional + marginal
    return conditional / total if total > 0 else 0.5
