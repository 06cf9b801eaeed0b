"""Layer 4: Laplace's approximation of a linear head's posterior: evidence and score variances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky

from isthmus.adapt.biased import Shrunk
from isthmus.adapt.sides import softmax
from isthmus.types import Array

BLOCK, CELLS = 4096, 4_000_000  # rows, and numbers of their covariances, in memory at a time
TINY = 1e-300


@dataclass(frozen=True)
class Posterior:
    """Gaussian around the optimum, in the basis of the labelled rows.

    Parameters
    ----------
    covariance : ndarray of shape (K, r, K, r), or (K, r, r) where classes are taken apart
    log_evidence : float
        Of the labels under the prior.
    """

    covariance: Array
    log_evidence: float


@dataclass(frozen=True)
class PosteriorScores:
    """Target rows -> log-probabilities (n, K) averaged over the posterior.

    Parameters
    ----------
    centre : ndarray of shape (d,)
    columns : ndarray of shape (d + 1,)
        Scale of each column of the design, the last one constant.
    coef, anchor : ndarray of shape (K, d), (K,)
        Prior mean: weights, and scores at the centre.
    basis : ndarray of shape (r, d + 1)
        Directions of the labelled rows.
    mode : ndarray of shape (K, r)
        Most probable deviation from the prior mean.
    covariance : ndarray
        As in `Posterior`.
    scale : float
        Prior variance; it is left in every direction that no labelled row has.
    """

    centre: Array
    columns: Array
    coef: Array
    anchor: Array
    basis: Array
    mode: Array
    covariance: Array
    scale: float

    def __call__(self, rows: Any) -> Array:
        rows = np.asarray(rows)
        out = np.empty((len(rows), max(len(self.coef), 2)))
        step = max(16, min(BLOCK, CELLS // len(self.coef) ** 2))
        for start in range(0, len(rows), step):
            part = averaged(*self.moments(rows[start : start + step]))
            out[start : start + step] = np.log(np.maximum(part, TINY))
        return out

    def moments(self, X: Array) -> tuple[Array, Array]:
        """(n, K) mean scores and (n, K, K) their covariances."""
        A = np.column_stack([X - self.centre, np.ones(len(X))]) * self.columns
        q = A @ self.basis.T
        rest = self.scale * np.maximum((A**2).sum(axis=1) - (q**2).sum(axis=1), 0.0)
        mean = (X - self.centre) @ self.coef.T + self.anchor + q @ self.mode.T
        out = spread_of(self.covariance, q, mean.shape[1])
        out[:, np.arange(mean.shape[1]), np.arange(mean.shape[1])] += rest[:, None]
        return mean, out


def spread_of(covariance: Array, q: Array, K: int) -> Array:
    """(n, K, K) covariances of the scores of rows q (n, r) in the basis."""
    out = np.zeros((len(q), K, K))
    for k in range(K):
        for other in range(k + 1) if covariance.ndim == 4 else (k,):
            part = covariance[k, :, other] if covariance.ndim == 4 else covariance[k]
            out[:, k, other] = out[:, other, k] = ((q @ part) * q).sum(axis=1)
    return out


def curvature(z: Array) -> Array:
    """(n, K, K) second derivatives of the log-loss in the scores; (n, 1, 1) for two classes."""
    if z.shape[1] == 1:
        p = np.exp(-np.logaddexp(0.0, -z))
        return (p * (1 - p))[:, :, None]
    p = softmax(z)
    return np.asarray(p[:, :, None] * (np.eye(z.shape[1]) - p[:, None, :]))


def laplace(
    problem: Shrunk, t: Array, scale: float, log_likelihood: float, rows: Array, *, joint: bool
) -> Posterior:
    """The posterior of deviations ``t ~ N(0, scale)`` around their optimum.

    ``log p(y) = log p(y | t) - |t|^2 / (2 scale) - 1/2 log det(scale H)`` with H the curvature of
    the whole objective (Bishop, *Pattern recognition and machine learning*, 2006, equation 4.137).

    Parameters
    ----------
    rows : ndarray of int
        Labelled rows in use.
    joint : bool
        One matrix for all classes, or one a class with the products between classes left out.
    """
    R, z = problem.R[rows], problem.scores(t, rows)
    K, r = t.shape
    eye = np.eye(r) / scale
    bend = curvature(z)
    half = 0.0
    if joint:
        H = np.empty((K, r, K, r))
        for k in range(K):
            for other in range(k + 1):
                block = (R * bend[:, k, other, None]).T @ R
                H[k, :, other], H[other, :, k] = block, block.T
            H[k, :, k] += eye
        flat = H.reshape(K * r, K * r)
        factor = cholesky(flat, lower=True)
        half = float(np.log(np.diag(factor)).sum())
        covariance = cho_solve((factor, True), np.eye(K * r)).reshape(K, r, K, r)
    else:
        covariance = np.empty((K, r, r))
        for k in range(K):
            factor = cholesky((R * bend[:, k, k, None]).T @ R + eye, lower=True)
            half += float(np.log(np.diag(factor)).sum())
            covariance[k] = cho_solve((factor, True), np.eye(r))
    evidence = log_likelihood - 0.5 * float((t**2).sum()) / scale
    return Posterior(covariance, evidence - half - 0.5 * K * r * float(np.log(scale)))


def averaged(mean: Array, covariance: Array) -> Array:
    """(n, K) probabilities with the uncertainty of the scores averaged over.

    The expected sigmoid of a normal score is close to ``sigmoid(m / sqrt(1 + pi v / 8))`` (MacKay,
    *The evidence framework applied to classification networks*, 1992); several classes are put
    together from their pairs (Lu, Ie and Sha, *Mean-field approximation to Gaussian-softmax
    integral*, 2020, equation 11).
    """
    if mean.shape[1] == 1:
        p = 1 / (1 + np.exp(-mean[:, 0] / np.sqrt(1 + np.pi / 8 * covariance[:, 0, 0])))
        return np.column_stack([1 - p, p])
    own = np.einsum("nkk->nk", covariance)
    apart = np.maximum(own[:, :, None] + own[:, None, :] - 2 * covariance, 0.0)
    gap = (mean[:, None, :] - mean[:, :, None]) / np.sqrt(1 + np.pi / 8 * apart)
    # log of 1 / sum_l exp(-(m_k - m_l) / ...), the term l = k being 1
    top = gap.max(axis=2, keepdims=True)
    return softmax(-(np.log(np.exp(gap - top).sum(axis=2)) + top[:, :, 0]))
