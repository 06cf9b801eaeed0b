"""LogME (You et al. 2021): the evidence of a Bayesian linear model, maximised in closed steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.transferability.base import (
    check_codes,
    check_features,
    check_labels,
    like,
    to_numpy,
)
from isthmus.types import Array

STEPS = 200  # of the fixed point; what it leaves open is settled on a grid
SPAN = 1e10  # the ratio alpha / beta stays within this factor of the features' scale
NOISE = 1e-12  # least noise, as a share of the labels' mean square: keeps the evidence bounded


def logme(features: Any, labels: Any, *, task: str = "classification") -> float:
    """Log of the maximum evidence per row, mean over the classes (one against the rest).

    ``w ~ N(0, I / alpha)``, ``y ~ N(F w, I / beta)``; alpha and beta maximise
    ``log p(y | F, alpha, beta) / n`` (You et al. 2021, eq. 2 and algorithm 1; the fixed point on
    singular values is that of the longer version, You et al. 2022).

    Parameters
    ----------
    features : array of shape (n, d)
        NumPy or torch. Not centred, as in the paper: add a constant column for an intercept.
    labels : array of shape (n,)
        Classes, or numbers for ``task="regression"``; also (n, k) numbers there.
    task : {"classification", "regression"}

    Returns
    -------
    float
        Higher is better; unchanged by rotation and by a common factor of the features.
        Comparable between feature sets for the same labels only.

    Raises
    ------
    DataError
        If there are no rows, fewer than two classes, or a value is not finite.

    Notes
    -----
    O(n d min(n, d)), one singular value decomposition for all classes.
    """
    who = "logme"
    xp, F = check_features(features, who=who)
    n = F.shape[0]
    if task == "classification":
        Y = np.eye(int((codes := check_codes(labels, n, who=who)).max()) + 1)[codes]
    elif task == "regression":
        Y = to_numpy(labels)
        if Y.ndim == 1:
            Y = check_labels(Y, n, who=who)[:, None]
        if Y.ndim != 2 or len(Y) != n or Y.dtype.kind not in "biuf":
            raise DataError(f"{Y.dtype} labels of shape {Y.shape} for {n} rows", where=who)
        Y = Y.astype(float)
        if not np.isfinite(Y).all() or not (Y**2).sum(axis=0).all():
            raise DataError("a label is not finite, or all are 0", where=who)
    else:
        raise UsageError(f"unknown task {task!r}", where=who, remedy="classification, regression")
    U, S, _ = xp.linalg.svd(F, full_matrices=False)
    projected = to_numpy(U.T @ like(xp, Y, F))
    s = to_numpy(S)
    kept = s > s.max() * max(F.shape) * np.finfo(float).eps
    energy = (Y**2).sum(axis=0)
    return float(evidence(s[kept] ** 2, projected[kept] ** 2, energy, n).mean())


def evidence(s2: Array, z2: Array, energy: Array, n: int) -> Array:
    """(k,) maximum log evidence per row.

    Parameters
    ----------
    s2 : ndarray of shape (r,)
        Squared singular values of the features.
    z2 : ndarray of shape (r, k)
        Squared coordinates of the labels on the left singular vectors.
    energy : ndarray of shape (k,)
        Sums of squared labels.
    n : int
        Rows.
    """
    if len(s2) == 0:  # features of zeros: noise alone
        return 0.5 * (np.log(n / energy) - 1 - np.log(2 * np.pi))
    outside = np.maximum(energy - z2.sum(axis=0), 0.0)
    scale = float(s2.mean())
    floor = NOISE * energy
    ratio = np.full(len(energy), scale)  # alpha / beta
    open_ = np.ones(len(energy), dtype=bool)
    for _ in range(STEPS):
        shrunk = s2[:, None] + ratio
        gamma = (s2[:, None] / shrunk).sum(axis=0)
        weight = (s2[:, None] * z2 / shrunk**2).sum(axis=0)  # |m|^2
        residual = (z2 * (ratio / shrunk) ** 2).sum(axis=0) + outside
        alpha = gamma / np.maximum(weight, 1e-300)
        # gamma can reach n where rows are fewer than features; then beta has no finite optimum
        beta = np.maximum(n - gamma, 1e-300) / np.maximum(residual, floor)
        new = np.clip(alpha / beta, scale / SPAN, scale * SPAN)
        open_ = np.abs(np.log(new / ratio)) > 1e-9
        ratio = new
        if not open_.any():
            break
    value = _profile(ratio, s2, z2, outside, floor, n)
    if open_.any():
        value[open_] = np.maximum(
            value[open_], _by_grid(s2, z2[:, open_], outside[open_], floor[open_], n)
        )
    return value


def _profile(ratio: Array, s2: Array, z2: Array, outside: Array, floor: Array, n: int) -> Array:
    """Evidence per row at a ratio alpha / beta, with the best beta for it in closed form."""
    shrunk = s2[:, None] + ratio
    # residual + ratio |m|^2 in one sum: z^2 ratio / (s^2 + ratio)
    misfit = np.maximum((z2 * (ratio / shrunk)).sum(axis=0) + outside, floor)
    fit = n * np.log(n / misfit) - n - n * np.log(2 * np.pi)
    # log det(alpha I) - log det(alpha I + beta F'F), null directions cancel
    return np.asarray((fit + np.log(ratio / shrunk).sum(axis=0)) / (2 * n))


def _by_grid(s2: Array, z2: Array, outside: Array, floor: Array, n: int) -> Array:
    """Maximum over the logarithm of the ratio: a coarse grid, then three finer ones."""
    centre = np.full(len(outside), np.log(float(s2.mean())))
    reach = float(np.log(SPAN))
    best = np.full(len(outside), -np.inf)
    for points in (201, 41, 41, 41):
        steps = np.linspace(-reach, reach, points)
        values = np.stack(
            [_profile(np.exp(centre + step), s2, z2, outside, floor, n) for step in steps]
        )
        best = np.maximum(best, values.max(axis=0))
        centre = centre + steps[values.argmax(axis=0)]
        reach *= 2 / (points - 1)
    return best
