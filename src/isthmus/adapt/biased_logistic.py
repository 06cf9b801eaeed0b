"""Biased logistic regression: target loss, and a penalty on the distance to source weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.biased_classifier import fit_biased, score_map
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.sides import softmax
from isthmus.types import Array


class BiasedLogistic(ClassifierMixin, BaseEstimator):
    """Logistic regression on labelled target rows whose weights stay near a source model's.

    ``sum_i log-loss(x_i, y_i) + strength / 2 |W - W_source|^2`` over labelled target rows
    (hypothesis transfer: Yang, Yan and Hauptmann, *Cross-domain video concept detection using
    adaptive SVMs*, ACM MM 2007; Kuzborskij and Orabona, *Stability and hypothesis transfer
    learning*, ICML 2013). strength = infinity is the source model, strength towards 0 knows the
    target alone; with source weights of 0 it is scikit-learn's ``LogisticRegression(C=1 /
    strength)``.

    Parameters
    ----------
    strength : "cv", float or sequence of float, default="cv"
        "cv" tries infinity and 15 values ``10^(i/2) v``, i = 6..-8, with v the mean squared
        distance of a target row to the mean; a sequence is the grid itself.
    source : estimator or LinearSource, optional
        A fitted linear classifier, or its weights: then no source row is read, and none need be
        there. An unfitted one is fitted on the source rows. Default: the same loss on the source
        rows with strength v / 10. (`clone` forgets the fit of an estimator; hand a
        `LinearSource.of(model)` to a search over parameters.)
    shrink_intercept : bool, default=True
        Draw the score at the mean target row to the source's as well. False leaves the intercept
        free, as scikit-learn does; that needs a labelled row of each class.
    cv : int, default=5
        Folds over labelled target rows, dealt three times below 500 rows.
    max_cv_rows : int, default=2000
        Labelled rows behind the choice of the strength (a prior variance: it does not grow with
        the rows); the final fit reads all of them.
    tol : float, default=1e-7
        Of the gradient, relative to its length at the source model.
    max_iter : int, default=1000
    random_state : int, default=0
        Seed of the folds; they depend on the values, not on the order of the rows.

    Attributes
    ----------
    classes_ : ndarray
        Those of the source.
    coef_, intercept_ : ndarray of shape (K, d) and (K,); one row for two classes
    source_ : LinearSource
    strength_, strength_how_ : float, str
    cv_losses_ : dict of float to float
        Held-out log-loss of each strength tried, at the temperature that suits it best (a source
        may be too sure of the target; which classes it tells apart is what counts).
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    Unlabelled target rows give the unit of `strength` and are read for nothing else. Features
    should be of comparable scale. Cost: one decomposition of the labelled rows, then L-BFGS.
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
    ) -> BiasedLogistic:
        """Fit on stacked domains; at least one target row is labelled.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, the source has one class, no target row is
            labelled, or a target label is no source class.
        UsageError
            If `strength` or `source` cannot be used.
        """
        found = fit_biased(
            X,
            y,
            sample_domain,
            target_labeled,
            kind="logistic",
            who="BiasedLogistic",
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

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities, columns as in `classes_`."""
        z = self.decision_function(X)
        return softmax(np.column_stack([np.zeros(len(z)), z]) if z.ndim == 1 else z)

    def served(self) -> Any:
        """What alone predicts new target rows: the scores of the classes."""
        check_is_fitted(self)
        return score_map(self.coef_, self.intercept_)

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
