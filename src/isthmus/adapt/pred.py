"""PRED: what the source's model says of a row becomes a feature of it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_regressor
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.few_labels import (
    EitherKind,
    beside,
    class_codes,
    few_labels,
    fitted,
    logistic,
)
from isthmus.adapt.fitted_forms import affine, class_scores
from isthmus.adapt.linear_source import LinearSource
from isthmus.adapt.maps import Affine
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.types import Array


class PRED(EitherKind):
    """The source model's predictions as additional features of a target model.

    An estimator is fitted to the source rows; a second one to the labelled target rows, with the
    first one's scores (`decision_function`, else probabilities, else the class as 0 and 1; values
    of a regressor) beside their features (the baseline PRED in Daume III, *Frustratingly easy
    domain adaptation*, ACL 2007, section 2).

    Parameters
    ----------
    estimator : classifier or regressor, optional
        Default: logistic regression.
    source_estimator : estimator, optional
        Of the same kind, for the source rows; default: as `estimator`.
    passthrough : bool, default=True
        Whether the features stand beside the scores (the paper). False: the scores alone, for a
        handful of labelled rows.
    random_state : int, default=0
        For estimators that draw.

    Attributes
    ----------
    source_estimator_ : estimator
    estimator_ : estimator
        Of the target; columns are the features, then the scores.
    classes_ : ndarray
        Of a classifier: those of the labelled target rows. Others are never predicted.
    troubles_ : tuple of Trouble

    Notes
    -----
    Sparse rows stay sparse, float32 stays float32. The source rows are needed for the first fit
    only.
    """

    family: ClassVar[str] = "feature"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("classification", "regression")
    numpy_only = "the estimator is scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        source_estimator: Any = None,
        passthrough: bool = True,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.source_estimator = estimator, source_estimator
        self.passthrough, self.random_state = passthrough, random_state

    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None) -> PRED:
        """Fit on source rows and on target rows whose label may be used.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, d)
        y : array of shape (n,)
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool
            At least one row; of a classifier at least two classes.

        Raises
        ------
        DataError
            If a domain is empty, no target row is labelled, a value is missing, or the labelled
            target rows are of one class.
        UsageError
            If one estimator is a classifier and the other a regressor.
        """
        size = int(np.prod(np.shape(X)))
        base = self.estimator if self.estimator is not None else logistic(size)
        first = self.source_estimator if self.source_estimator is not None else base
        values = is_regressor(base)
        if is_regressor(first) != values:
            raise UsageError(
                f"source_estimator={type(first).__name__} with estimator={type(base).__name__}",
                where="PRED",
                why="both must be classifiers, or both regressors",
            )
        given = few_labels(X, y, sample_domain, target_labeled, who="PRED", values=values)
        if not values:
            class_codes(given, "PRED")
            for side, labels in (("source", given.ys), ("labelled target", given.yk)):
                if len(set(labels.tolist())) < 2:
                    raise DataError(
                        f"the {side} rows have the one class {plain_repr(labels[0])}",
                        where="PRED",
                        why="each side fits a classifier of its own",
                        remedy="Label a row of another class, or use FEDA",
                    )
        self.n_features_in_ = given.Xs.shape[1]
        seed = self.random_state
        self.source_estimator_, found = fitted(first, given.Xs, given.ys, seed=seed)
        rows = self._columns(given.Xk)
        self.estimator_, more = fitted(base, rows, given.yk, seed=seed)
        self.troubles_ = found + more
        if not values:
            self.classes_ = self.estimator_.classes_
        return self

    def served(self) -> Affine:
        """What alone predicts new target rows: two linear models, one after the other.

        Raises
        ------
        UsageError
            If one of them is not linear.
        """
        check_is_fitted(self)
        first = LinearSource.of(self.source_estimator_)
        values = is_regressor(self.estimator_)
        coef, level = class_scores(self.estimator_, None if values else self.classes_)
        d = self.n_features_in_ if self.passthrough else 0
        own = coef[:, d:] @ first.coef
        if self.passthrough:
            own = own + coef[:, :d]
        return affine(own, level + coef[:, d:] @ first.intercept, values=values)

    def _columns(self, X: Any) -> Any:
        said = scores(self.source_estimator_, X).astype(X.dtype)
        return beside(X, said) if self.passthrough else said


def scores(model: Any, X: Any) -> Array:
    """(n, k) what a fitted estimator says of rows, in its finest form."""
    if is_regressor(model):
        said = model.predict(X)
    elif hasattr(model, "decision_function"):
        said = model.decision_function(X)
    elif hasattr(model, "predict_proba"):
        said = model.predict_proba(X)
    else:
        said = model.predict(X)[:, None] == model.classes_
    said = np.asarray(said, dtype=np.float64)
    return said if said.ndim == 2 else said[:, None]
