"""Biased (adaptive) support vector machine: squared hinge loss near source weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.biased_classifier import fit_biased, score_map
from isthmus.adapt.few_labels import new_rows
from isthmus.types import Array


class BiasedSVM(ClassifierMixin, BaseEstimator):
    """Linear SVM on labelled target rows whose weights stay near a source model's.

    ``sum_i max(0, 1 - y_i z_i)^2 + strength / 2 |w - w_source|^2``, one problem a class (Yang,
    Yan and Hauptmann, *Cross-domain video concept detection using adaptive SVMs*, ACM MM 2007,
    equation 2, with the squared hinge). strength = infinity is the source model; with source
    weights of 0 it is scikit-learn's ``LinearSVC(C=1 / strength)``.

    Parameters
    ----------
    strength : "cv", float or sequence of float, default="cv"
        As in `BiasedLogistic`, and compared as there, by the scores' log-loss at their best
        temperature: the hinge losses of "one class or the rest" are ruled by the rest.
    source : estimator or LinearSource, optional
        As in `BiasedLogistic`. Its scores must have the SVM's meaning: 1 at the margin.
    shrink_intercept : bool, default=True
    cv : int, default=5
    max_cv_rows : int, default=2000
    tol : float, default=1e-7
    max_iter : int, default=1000
    random_state : int, default=0

    Attributes
    ----------
    classes_, coef_, intercept_, source_, strength_, strength_how_, cv_losses_, troubles_, info_
        As in `BiasedLogistic`.

    Notes
    -----
    There are no probabilities: the scores of an SVM are none. Cost as `BiasedLogistic`.
    """

    family: ClassVar[str] = "model"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    numpy_only = "SciPy's L-BFGS"

    def __init__(
        self,
        strength: str | float | Sequence[float] = "cv",
        *,
        source: Any = None,
        shrink_intercept: bool = True,
        cv: int = 5,
        max_cv_rows: int = 2000,
        tol: float = 1e-7,
        max_iter: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.strength, self.source, self.shrink_intercept = strength, source, shrink_intercept
        self.cv, self.max_cv_rows, self.tol, self.max_iter = cv, max_cv_rows, tol, max_iter
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> BiasedSVM:
        """Fit on stacked domains; at least one target row is labelled.

        Raises
        ------
        DataError, UsageError
            As `BiasedLogistic.fit`.
        """
        found = fit_biased(
            X,
            y,
            sample_domain,
            target_labeled,
            kind="squared_hinge",
            who="BiasedSVM",
            params=self.get_params(deep=False),
        )
        self.coef_, self.intercept_, self.classes_ = found.coef, found.intercept, found.classes
        self.source_, self.strength_, self.strength_how_ = found.source, found.strength, found.how
        self.cv_losses_, self.troubles_, self.info_ = found.losses, found.troubles, found.info
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def decision_function(self, X: Any) -> Array:
        """(n, K) scores, or (n,) for two classes."""
        z = new_rows(self, X) @ self.coef_.T + self.intercept_
        return np.asarray(z[:, 0] if len(self.classes_) == 2 else z)

    def served(self) -> Any:
        """What alone predicts new target rows: the scores of the classes."""
        check_is_fitted(self)
        return score_map(self.coef_, self.intercept_)

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        z = self.decision_function(X)
        codes = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
        return np.asarray(self.classes_[codes])
