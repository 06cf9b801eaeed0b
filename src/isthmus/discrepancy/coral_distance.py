"""CORAL distance (Sun and Saenko 2016): how far apart are two covariances?"""

from __future__ import annotations

from typing import Any

from isthmus.discrepancy.base import check_pair


def coral_distance(zs: Any, zt: Any) -> float:
    """``|C_s - C_t|_F^2 / (4 d^2)``; blind to the means (Sun and Saenko 2016, Deep CORAL, eq. 1).

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy or torch.

    Returns
    -------
    float
        In units of the features to the fourth power; 0 where the covariances agree.

    Raises
    ------
    DataError
        If a side has fewer than two rows, widths differ, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> coral_distance(np.array([[0.0], [2.0]]), np.array([[0.0], [0.0]]))
    1.0
    """
    xp, zs, zt = check_pair(zs, zt, who="coral_distance")
    difference = _covariance(xp, zs) - _covariance(xp, zt)
    return float(xp.sum(difference * difference)) / (4 * zs.shape[1] ** 2)


def _covariance(xp: Any, z: Any) -> Any:
    """(d, d) covariance with n - 1 in the denominator, as in the paper."""
    centred = z - xp.mean(z, axis=0)
    return (centred.T @ centred) / (z.shape[0] - 1)
