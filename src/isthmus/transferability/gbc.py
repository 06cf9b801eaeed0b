"""Gaussian Bhattacharyya coefficient (Pandy et al. 2022): how much do the classes overlap?"""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import UsageError
from isthmus.transferability.base import check_codes, check_features, class_means, like, one_hot
from isthmus.types import Array

FLOOR = 1e-6  # least class variance, as a share of the mean within-class variance


def gbc(
    features: Any, labels: Any, *, covariance: str = "diagonal", components: int | None = 64
) -> float:
    """``- sum over ordered pairs of classes of exp(-D_B)`` between class Gaussians.

    ``D_B = (m - m')' S^-1 (m - m') / 8 + log(|S| / sqrt(|S_1| |S_2|)) / 2``,
    ``S = (S_1 + S_2) / 2`` (Pandy et al. 2022, eq. 1 to 3).

    Parameters
    ----------
    features : array of shape (n, d)
        NumPy or torch.
    labels : array of shape (n,)
        Classes. A class of one row borrows the mean within-class variance.
    covariance : {"diagonal", "spherical"}, default="diagonal"
    components : int or None, default=64
        Principal components kept first (the paper's 64); None keeps the features as they are.

    Returns
    -------
    float
        0 (no overlap) down to -k (k - 1); higher is better.

    Raises
    ------
    DataError
        If there are fewer than two classes or a value is not finite.
    """
    who = "gbc"
    if covariance not in ("diagonal", "spherical"):
        raise UsageError(f"unknown covariance {covariance!r}", where=who, remedy="diagonal")
    xp, F = check_features(features, who=who)
    codes = check_codes(labels, F.shape[0], who=who)
    F = F - xp.mean(F, axis=0)
    if components is not None:
        _, _, rows = xp.linalg.svd(F, full_matrices=False)
        F = F @ rows[: min(components, rows.shape[0]), :].T
    means, counts = class_means(xp, F, codes)
    away = F - xp.take(means, like(xp, codes, F), axis=0)
    totals = one_hot(xp, codes, F).T @ (away * away)
    coefficients = _coefficients(
        np.asarray(_host(means)), np.asarray(_host(totals)), np.asarray(_host(counts)), covariance
    )
    return -float(coefficients.sum() - np.trace(coefficients))


def _host(values: Any) -> Any:
    return values.cpu() if hasattr(values, "cpu") else values


def _coefficients(means: Array, totals: Array, counts: Array, covariance: str) -> Array:
    """(k, k) Bhattacharyya coefficients from class means and within-class sums of squares."""
    pooled = totals.sum(axis=0) / counts.sum()
    variances = np.where(counts[:, None] > 1, totals / counts[:, None], pooled)
    if covariance == "spherical":
        variances = np.repeat(variances.mean(axis=1, keepdims=True), means.shape[1], axis=1)
    # classes without any spread would have no density; relative, so that units do not matter
    least = FLOOR * (float(pooled.mean()) or float((means**2).mean()) or 1.0)
    variances = np.maximum(variances, least)
    out = np.empty((len(means), len(means)))
    for i, (mean, variance) in enumerate(zip(means, variances)):
        middle = (variance + variances) / 2
        distance = ((mean - means) ** 2 / middle).sum(axis=1) / 8
        spread = np.log(middle) - (np.log(variance) + np.log(variances)) / 2
        out[i] = np.exp(-distance - spread.sum(axis=1) / 2)
    return out
