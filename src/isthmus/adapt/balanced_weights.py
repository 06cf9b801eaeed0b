"""Balanced weighting: source and labelled target rows share one loss in a stated proportion."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from isthmus.data.domains import split_domains
from isthmus.errors import DataError, UsageError
from isthmus.types import Array


class BalancedWeights(BaseEstimator):
    """One estimator on source rows and the few labelled target rows, each side with its share.

    ``trade_off * mean target loss + (1 - trade_off) * mean source loss`` (Wu and Dietterich,
    *Improving SVM accuracy by training on auxiliary data sources*, ICML 2004, equation 1): how
    many rows a side has does not decide how much it counts.

    Parameters
    ----------
    estimator : classifier or regressor, optional
        Its `fit` takes `sample_weight`. Default: logistic regression.
    trade_off : float, default=0.5
        Share of the target, from 0 (source-only) to 1 (target-only).

    Attributes
    ----------
    estimator_ : estimator
    sample_weight_ : ndarray of shape (n_s + n_labeled,)
        Mean 1; source rows first.
    effective_sample_size_ : float
        Kish's ``(sum w)^2 / sum w^2``; no weight is clipped.
    """

    numpy_only = "the estimator is scikit-learn's"

    def __init__(self, estimator: Any = None, *, trade_off: float = 0.5) -> None:
        self.estimator, self.trade_off = estimator, trade_off

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> BalancedWeights:
        """Fit on source rows and on target rows whose label may be used.

        Parameters
        ----------
        X : array of shape (n, d)
        y : array of shape (n,)
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool
            At least one row.

        Raises
        ------
        DataError
            If a domain is empty or no target row is labelled.
        UsageError
            If `trade_off` is not within 0 and 1, or the estimator takes no weights.
        """
        if not 0 <= self.trade_off <= 1:
            raise UsageError(f"trade_off={self.trade_off}", why="0 <= trade_off <= 1 is needed")
        parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
        if not parts.labeled.any():
            raise DataError(
                f"none of {len(parts.Xt)} target rows is labelled",
                where="BalancedWeights",
                remedy="Pass target_labeled, or use a method for unlabelled targets",
            )
        self.estimator_ = clone(self.estimator) if self.estimator is not None else _default()
        if not has_fit_parameter(self.estimator_, "sample_weight"):
            raise UsageError(f"{type(self.estimator_).__name__} takes no sample_weight")
        ns, nt = len(parts.Xs), int(parts.labeled.sum())
        weights = np.repeat([(1 - self.trade_off) / ns, self.trade_off / nt], [ns, nt]) * (ns + nt)
        rows = np.concatenate([parts.Xs, parts.Xt[parts.labeled]])
        labels = np.concatenate([parts.ys, parts.yt])
        used = weights > 0  # scikit-learn would still see the classes of rows without weight
        self.estimator_.fit(rows[used], labels[used], sample_weight=weights[used])
        self.sample_weight_ = weights
        self.effective_sample_size_ = float(weights.sum() ** 2 / (weights**2).sum())
        self.n_features_in_ = rows.shape[1]
        if not is_regressor(self.estimator_):
            self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: Any) -> Array:
        """Predictions for target rows."""
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict(X))

    def predict_proba(self, X: Any) -> Array:
        """(n, k) probabilities, where the estimator gives them."""
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        kind = self.estimator.__sklearn_tags__() if self.estimator is not None else None
        tags.estimator_type = "classifier" if kind is None else kind.estimator_type
        return tags


def _default() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)
