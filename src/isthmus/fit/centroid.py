"""Layer 5: nearest class mean, with a shrunk pooled covariance where asked (LDA)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from isthmus.errors import UsageError
from isthmus.fit.base import (
    Stateful,
    check_weights,
    encode_classes,
    require_shape,
    row_blocks,
    softmax,
)
from isthmus.fit.linear import linear_scores
from isthmus.fit.rows import EXACT_UP_TO
from isthmus.fit.threads import calm
from isthmus.types import Array


class NearestMeanHead(ClassifierMixin, Stateful):
    """Gaussian classes around their means with one shared covariance S.

    ``logit_k(x) = -1/2 (x - m_k)' S^-1 (x - m_k) + log prior_k``, up to what all classes share;
    it is linear in x, so only coefficients are kept. With `shrinkage` None the covariance is
    spherical: the class of the nearest mean.

    Parameters
    ----------
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine": rows and means are scaled to unit length first.
    shrinkage : None, "auto" or float in (0, 1], default=None
        None: spherical covariance. A number g: ``(1 - g) S + g tr(S)/d I``. "auto": g by
        Ledoit and Wolf (2004) on the residuals to the class means.
    priors : {"uniform", "data"}, default="uniform"
        "uniform" treats classes alike however many rows they have.

    Attributes
    ----------
    classes_ : (K,)
    means_ : (K, d) float64
    coef_, intercept_ : (K, d) and (K,) float64
    shrinkage_ : float
        1 for the spherical case.
    """

    _arrays = ("means_", "coef_", "intercept_")
    _facts = ("shrinkage_",)

    def __init__(
        self,
        *,
        metric: str = "euclidean",
        shrinkage: str | float | None = None,
        priors: str = "uniform",
    ) -> None:
        self.metric = metric
        self.shrinkage = shrinkage
        self.priors = priors

    @calm
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> NearestMeanHead:
        """Means, and the covariance of the rows around them; `groups` changes nothing here.

        Raises
        ------
        DataError, UsageError
        """
        if self.metric not in ("euclidean", "cosine"):
            raise UsageError(f"metric={self.metric!r}", why="known: euclidean, cosine")
        if self.priors not in ("uniform", "data"):
            raise UsageError(f"priors={self.priors!r}", why="known: uniform, data")
        X = self._check_X(X, reset=True)
        weights = check_weights(sample_weight, X)
        self.classes_, codes = encode_classes(y, len(X), weights)
        K, d = len(self.classes_), X.shape[1]
        mass = np.bincount(codes, weights, minlength=K)
        sums = np.zeros((K, d))
        for part in row_blocks(len(X), d):
            np.add.at(sums, codes[part], weights[part, None] * self._rows(X[part]))
        self.means_ = sums / mass[:, None]
        if self.metric == "cosine":
            self.means_ = unit(self.means_)
        self.coef_ = self._precision_times_means(X, codes, weights)
        self.intercept_ = -0.5 * np.einsum("kd,kd->k", self.coef_, self.means_)
        if self.priors == "data":
            self.intercept_ += np.log(mass / mass.sum())
        return self

    def decision_function(self, X: Any) -> Array:
        """(n, K) logits, or (n,) their difference for two classes."""
        z = self.logits(X)
        return z[:, 1] - z[:, 0] if len(self.classes_) == 2 else z

    def logits(self, X: Any) -> Array:
        """(n, K) numbers whose softmax are the probabilities."""
        X = self._check_X(X)
        if self.metric == "euclidean":
            return linear_scores(X, self.coef_, self.intercept_)
        out = np.empty((len(X), len(self.classes_)))
        for part in row_blocks(len(X), X.shape[1]):
            out[part] = self._rows(X[part]) @ self.coef_.T + self.intercept_
        return out

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities in the order of `classes_`."""
        return softmax(self.logits(X))

    def predict(self, X: Any) -> Array:
        """(n,) labels."""
        best = self.logits(X).argmax(axis=1)
        return self.classes_[best]

    def _rows(self, block: Array) -> Array:
        block = block.astype(np.float64)
        return unit(block) if self.metric == "cosine" else block

    def _precision_times_means(self, X: Array, codes: Array, weights: Array) -> Array:
        """(K, d) rows ``S^-1 m_k``; sets `shrinkage_`."""
        n, d = X.shape
        K = len(self.classes_)
        mass = weights.sum()

        def residuals(part: slice) -> Array:
            return self._rows(X[part]) - self.means_[codes[part]]

        square = fourth = 0.0  # sums of |r|^2 and |r|^4
        for part in row_blocks(n, d):
            length = np.einsum("ij,ij->i", *(residuals(part),) * 2)
            square += float(weights[part] @ length)
            fourth += float(weights[part] @ length**2)
        level = square / mass / d  # tr(S) / d
        if level <= 0:
            # One row a class: the spread is unknown. Dividing by the whole squared spread of the
            # means keeps logits within about one of each other: the order, and little confidence.
            level = float(np.sum((self.means_ - self.means_.mean(axis=0)) ** 2)) / K or 1.0
            self.shrinkage_ = 1.0
            return self.means_ / level
        if self.shrinkage is None:
            self.shrinkage_ = 1.0
            return self.means_ / level
        if d <= EXACT_UP_TO:
            S = np.zeros((d, d))
            for part in row_blocks(n, d):
                half = np.sqrt(weights[part, None]) * residuals(part)
                S += half.T @ half
            S /= mass
            g = self._amount(float(np.sum(S**2)), level, fourth, mass, d)
            S *= 1 - g
            S[np.diag_indices(d)] += g * level
            return np.linalg.solve(S, self.means_.T).T
        if n <= EXACT_UP_TO:
            R = np.sqrt(weights / mass)[:, None] * residuals(slice(0, n))  # S = R'R
            gram = R @ R.T
            g = self._amount(float(np.sum(gram**2)), level, fourth, mass, d)
            # Woodbury: (a R'R + c I)^-1 m = (m - a R' (c I + a R R')^-1 R m) / c
            a, c = 1 - g, g * level
            inner = np.linalg.solve(c * np.eye(n) + a * gram, R @ self.means_.T)
            return (self.means_ - a * (R.T @ inner).T) / c
        raise UsageError(
            f"a covariance of {d} features from {n} rows",
            why=f"at most {EXACT_UP_TO} of one of them",
            remedy="Reduce the features first: FeatureProcessor(pca=512), or shrinkage=None",
        )

    def _amount(self, norm: float, level: float, fourth: float, mass: float, d: int) -> float:
        """Shrinkage g: as given, or Ledoit-Wolf from ``||S||^2``, ``tr(S)/d``, fourth moments."""
        if self.shrinkage == "auto":
            beta = (fourth / mass - norm) / (d * mass)
            delta = norm / d - level**2
            g = 1.0 if delta <= 0 else float(np.clip(beta / delta, 0.0, 1.0))
            self.shrinkage_ = max(g, 1e-6)
        elif isinstance(self.shrinkage, int | float) and 0 < self.shrinkage <= 1:
            self.shrinkage_ = float(self.shrinkage)
        else:
            raise UsageError(f"shrinkage={self.shrinkage!r}", why='None, "auto", or in (0, 1]')
        return self.shrinkage_

    def _check_state(self) -> None:
        shape = (len(self.classes_), self.n_features_in_)
        require_shape(self.means_, shape, "means_")
        require_shape(self.coef_, shape, "coef_")
        require_shape(self.intercept_, shape[:1], "intercept_")


def unit(rows: Array) -> Array:
    """Rows scaled to length one; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)
