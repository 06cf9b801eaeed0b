"""TransRate (Huang et al. 2022): mutual information of features and labels by coding rates."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import UsageError
from isthmus.transferability.base import check_codes, check_features, like


def transrate(features: Any, labels: Any, *, eps: float = 1e-4, scale: bool = True) -> float:
    """``R(Z) - sum_c (n_c / n) R(Z_c)``, ``R(Z) = log det(I + Z'Z / (n eps)) / 2`` in nats.

    Parameters
    ----------
    features : array of shape (n, d)
        NumPy or torch; centred here. Classes are not centred again (Huang et al. 2022, eq. 4).
    labels : array of shape (n,)
        Classes.
    eps : float, default=1e-4
        Distortion, squared, as in the authors' code.
    scale : bool, default=True
        Divide by the root mean square norm of the centred rows, so that `eps` means the same for
        every feature set. False is the authors' code (which weighs classes equally).

    Returns
    -------
    float
        At least 0 but for rounding; higher is better; unchanged by rotation.

    Raises
    ------
    DataError
        If there are fewer than two classes or a value is not finite.
    """
    if eps <= 0:
        raise UsageError(f"eps={eps}", where="transrate", why="it is positive")
    xp, F = check_features(features, who="transrate")
    codes = check_codes(labels, F.shape[0], who="transrate")
    Z = F - xp.mean(F, axis=0)
    size = float(xp.mean(xp.sum(Z * Z, axis=1))) ** 0.5
    if scale and size > 0:
        Z = Z / size
    within = 0.0
    for code in range(int(codes.max()) + 1):
        rows = np.flatnonzero(codes == code)
        part = xp.take(Z, like(xp, rows, Z), axis=0)
        within += len(rows) / len(codes) * coding_rate(xp, part, eps)
    return coding_rate(xp, Z, eps) - within


def coding_rate(xp: Any, Z: Any, eps: float) -> float:
    """``log det(I + Z'Z / (n eps)) / 2`` by the smaller of the two Gram matrices."""
    n, d = Z.shape
    gram = Z.T @ Z if d <= n else Z @ Z.T
    values = xp.linalg.eigvalsh(gram)
    values = xp.where(values > 0, values, xp.zeros_like(values))
    return float(xp.sum(xp.log1p(values / (n * eps)))) / 2
