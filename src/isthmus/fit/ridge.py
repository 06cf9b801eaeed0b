"""Layer 5: ridge regression and classification heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from isthmus.errors import DataError
from isthmus.fit.base import (
    Stateful,
    check_weights,
    class_factors,
    encode_classes,
    require_shape,
    softmax,
)
from isthmus.fit.calibrate import Temperature
from isthmus.fit.linear import linear_scores
from isthmus.fit.ridge_path import fit_ridge
from isthmus.fit.threads import calm
from isthmus.types import Array


class RidgeRegressorHead(RegressorMixin, Stateful):
    """Ridge regression; alpha by closed-form leave-one-out, or by grouped folds.

    Minimises ``sum_i s_i (y_i - w'x_i - b)^2 + alpha ||w||^2`` (scikit-learn's convention), b not
    penalised.

    Parameters
    ----------
    alpha : "cv", float or sequence of float, default="cv"
        "cv" tries 19 values ``10^(i/2) u``, i = -10..8, u = total weight times the mean variance
        of a feature.
    random_state : int, default=0
        Seed of the grouped folds.

    Attributes
    ----------
    coef_ : (d,) or (t, d); intercept_ : float or (t,)
    alpha_ : float
    alpha_how_ : str
    cv_losses_ : dict of float to float
        Mean squared held-out error for every alpha tried.
    oof_predictions_ : (n,) or (n, t) float32 or None
        Prediction for each training row without it.
    """

    _arrays = ("coef_", "intercept_")
    _facts = ("alpha_", "alpha_how_")

    def __init__(
        self, alpha: str | float | Sequence[float] = "cv", *, random_state: int = 0
    ) -> None:
        self.alpha = alpha
        self.random_state = random_state

    @calm
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> RidgeRegressorHead:
        """Choose alpha, then fit on all rows.

        Parameters
        ----------
        X : (n, d) array-like
        y : (n,) or (n, t) finite numbers
        sample_weight : (n,) array-like, optional
        groups : (n,) array-like, optional

        Raises
        ------
        DataError, UsageError
        """
        from sklearn.utils.validation import _check_y, check_consistent_length

        X = self._check_X(X, reset=True)
        if y is None:
            raise DataError("the fit requires y to be passed, but the target y is None")
        try:
            y = _check_y(y, multi_output=True, y_numeric=True).astype(np.float64)
            if y.ndim == 2 and y.shape[1] == 1:
                y = _check_y(y, multi_output=False, y_numeric=True).astype(np.float64)
            check_consistent_length(X, y)
        except ValueError as error:
            raise DataError(str(error), where="y") from None
        weights = check_weights(sample_weight, X)
        Y = y[:, None] if y.ndim == 1 else y
        found = fit_ridge(
            X,
            Y,
            weights,
            self.alpha,
            groups=groups,
            strata=Y[:, 0],
            task="regression",
            random_state=self.random_state,
        )
        flat = y.ndim == 1
        self.coef_ = found.coef[0] if flat else found.coef
        self.intercept_ = np.asarray(found.intercept[0] if flat else found.intercept)
        self.alpha_, self.alpha_how_ = found.alpha, found.how
        self.cv_losses_ = found.losses
        held = found.held_out
        self.oof_predictions_ = held[:, 0] if flat and held is not None else held
        return self

    def predict(self, X: Any) -> Array:
        """(n,) or (n, t) float64."""
        X = self._check_X(X)
        out = linear_scores(X, np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_))
        return out[:, 0] if self.coef_.ndim == 1 else out

    def _check_state(self) -> None:
        self.intercept_ = np.asarray(self.intercept_)
        if self.coef_.shape[-1] != self.n_features_in_ or self.coef_.ndim not in (1, 2):
            require_shape(self.coef_, (self.n_features_in_,), "coef_")
        if self.intercept_.size != np.atleast_2d(self.coef_).shape[0]:
            require_shape(self.intercept_, (len(self.coef_),), "intercept_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class RidgeHead(ClassifierMixin, Stateful):
    """Ridge regression on targets -1 / +1 per class; fast, and often as good as logistic.

    Probabilities are ``softmax(scale * scores)``, the scale fitted on the leave-one-out scores
    (`Temperature`), because least-squares scores know nothing of confidence.

    Parameters
    ----------
    alpha : "cv", float or sequence of float, default="cv"
        As in `RidgeRegressorHead`; chosen by squared error of the held-out scores.
    class_weight : None, "balanced" or dict, default=None
    random_state : int, default=0

    Attributes
    ----------
    classes_, coef_ (K, d) (one row for two classes), intercept_ (K,)
    alpha_, alpha_how_, cv_losses_ : as in `RidgeRegressorHead`
    scale_ : float
    scale_how_ : str
    oof_logits_, oof_rows_ : (n, K) float32 and (n,) bool, or None
    """

    _arrays = ("coef_", "intercept_")
    _facts = ("alpha_", "alpha_how_", "scale_", "scale_how_")

    def __init__(
        self,
        alpha: str | float | Sequence[float] = "cv",
        *,
        class_weight: Any = None,
        random_state: int = 0,
    ) -> None:
        self.alpha = alpha
        self.class_weight = class_weight
        self.random_state = random_state

    @calm
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> RidgeHead:
        """Choose alpha, then fit on all rows; arguments as in `LogisticHead.fit`.

        Raises
        ------
        DataError, UsageError
        """
        X = self._check_X(X, reset=True)
        given = check_weights(sample_weight, X)
        self.classes_, codes = encode_classes(y, len(X), given)
        K = len(self.classes_)
        weights = given * class_factors(self.class_weight, self.classes_, codes, given)[codes]
        Y = np.where(codes[:, None] == np.arange(K), 1.0, -1.0)
        found = fit_ridge(
            X,
            Y[:, 1:] if K == 2 else Y,
            weights,
            self.alpha,
            groups=groups,
            strata=codes,
            task="classification",
            random_state=self.random_state,
        )
        self.coef_, self.intercept_ = found.coef, found.intercept
        self.alpha_, self.alpha_how_ = found.alpha, found.how
        self.cv_losses_ = found.losses
        temperature = Temperature((1e-4, 10.0))
        known = weights > 0
        if groups is None:  # a class of one row cannot be recognised without it
            known &= np.bincount(codes, given, minlength=K)[codes] > np.minimum(given, 1.0)
        if found.held_out is None or not known.any():
            temperature.skip("nothing can be held out")
        else:
            temperature.fit(_columns(found.held_out)[known], codes[known], weights[known])
        self.scale_, self.scale_how_ = 1.0 / temperature.T_, temperature.note_
        held = found.held_out
        self.oof_logits_ = None if held is None else np.float32(self.scale_) * _columns(held)
        self.oof_rows_ = None if held is None else known
        return self

    def decision_function(self, X: Any) -> Array:
        """(n, K) least-squares scores around -1..1, or (n,) for two classes."""
        out = linear_scores(self._check_X(X), self.coef_, self.intercept_)
        return out[:, 0] if len(self.classes_) == 2 else out

    def logits(self, X: Any) -> Array:
        """(n, K) numbers whose softmax are the probabilities."""
        scores = self.decision_function(X)
        return self.scale_ * _columns(scores[:, None] if scores.ndim == 1 else scores)

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities in the order of `classes_`."""
        return softmax(self.logits(X))

    def predict(self, X: Any) -> Array:
        """(n,) labels."""
        best = self.logits(X).argmax(axis=1)
        return self.classes_[best]

    def _check_state(self) -> None:
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        require_shape(self.coef_, (outputs, self.n_features_in_), "coef_")
        require_shape(self.intercept_, (outputs,), "intercept_")


def _columns(scores: Array) -> Array:
    """One score for two classes becomes -s, s."""
    return np.column_stack([-scores[:, 0], scores[:, 0]]) if scores.shape[1] == 1 else scores
