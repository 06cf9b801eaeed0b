"""Layer 5: the scikit-learn face of domain adaptation; the split of the domains happens here once.

Rows at predict time are target rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from isthmus.data.domains import Domains, split_domains
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.fit.foreign import adapt_foreign, is_foreign
from isthmus.types import Adaptation, Array, Prior


class _DomainAdapted(BaseEstimator):
    """What the classifier and the regressor share: fit on adapted source rows, predict targets."""

    def __init__(self, adapter: Any = None, estimator: Any = None) -> None:
        self.adapter, self.estimator = adapter, estimator

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> _DomainAdapted:
        """Adapt, then fit the estimator on the source (and on labelled target rows).

        Parameters
        ----------
        X : array of shape (n, d)
            Rows of both domains; `isthmus.data.domains.stack_domains` builds them.
        y : array of shape (n,)
            Labels. On target rows they are read only where `target_labeled` is True.
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0. None: all rows are source rows, which only the
            source-only baseline (``adapter=None``) accepts.
        target_labeled : array of shape (n,), bool, optional
            Target rows whose label may be used.

        Raises
        ------
        DataError
            If a domain is empty.
        UsageError
            If an adapter is given without `sample_domain`.
        """
        self.n_features_in_ = np.shape(X)[1]
        self.estimator_ = clone(self.estimator) if self.estimator is not None else self._default()
        if sample_domain is None:
            if self.adapter is not None:
                raise UsageError(
                    f"{type(self.adapter).__name__} needs sample_domain",
                    why="without it there are no target rows to adapt to",
                    remedy="Build the arrays with stack_domains(Xs, ys, Xt)",
                )
            self.adaptation_ = Adaptation(np.asarray(X))
            self.estimator_.fit(X, y)
            return self._fitted()
        parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
        if self.adapter is None:
            self.adaptation_ = Adaptation(parts.Xs)
        else:
            self.adaptation_ = self._adapted(parts)
        rows, labels, weights = self.adaptation_.Xs, parts.ys, self.adaptation_.weights
        if self.adaptation_.labels is not None:
            rows, labels, weights = self._propagated(parts)
        elif parts.labeled.any():
            known = self.adaptation_.map_target(parts.Xt[parts.labeled])
            rows, labels = np.concatenate([rows, known]), np.concatenate([labels, parts.yt])
            if weights is not None:
                weights = np.concatenate([weights, np.ones(len(known))])
        if weights is None:
            self.estimator_.fit(rows, labels)
        elif not has_fit_parameter(self.estimator_, "sample_weight"):
            raise UsageError(
                f"{type(self.estimator_).__name__} takes no sample_weight",
                why=f"{type(self.adapter).__name__} adapts by weights",
                remedy="Use an estimator whose fit takes sample_weight",
            )
        else:
            self.estimator_.fit(rows, labels, sample_weight=np.asarray(weights))
        return self._fitted()

    def _adapted(self, parts: Domains) -> Adaptation:
        if is_foreign(self.adapter):
            adapter = clone(self.adapter, safe=False)
            return adapt_foreign(adapter, parts.Xs, parts.ys, parts.Xt, classes=is_classifier(self))
        found: Adaptation = clone(self.adapter).adapt(parts.Xs, parts.ys, parts.Xt)
        return found

    def _propagated(self, parts: Domains) -> tuple[Array, Array, None]:
        """Target rows under the labels that the method gave them; known labels stand."""
        labels = np.array(self.adaptation_.labels)
        if parts.labeled.any():
            labels = labels.astype(np.result_type(labels, parts.yt))
            labels[parts.labeled] = parts.yt
        if is_classifier(self) and len(np.unique(labels)) < 2:
            raise DataError(
                f"every target row received the label {plain_repr(labels[0])}",
                where=type(self.adapter).__name__,
                remedy="Use another adapter, or label a few target rows",
            )
        return np.asarray(self.adaptation_.map_target(parts.Xt)), labels, None

    def predict(self, X: Any) -> Array:
        """Predictions for target rows."""
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict(self._mapped(X)))

    def _mapped(self, X: Any) -> Any:
        return self.adaptation_.map_target(np.asarray(X))

    def _default(self) -> Any:
        raise NotImplementedError

    def _fitted(self) -> _DomainAdapted:
        return self


class DomainAdaptedClassifier(ClassifierMixin, _DomainAdapted):
    """An adapter and a classifier as one scikit-learn estimator.

    Parameters
    ----------
    adapter : Adapter, optional
        None is the source-only baseline. Adapters of skada work as they are.
    estimator : classifier, optional
        Default: logistic regression.

    Attributes
    ----------
    adaptation_ : Adaptation
        With its troubles and figures.
    estimator_ : classifier
    classes_ : ndarray
    """

    def _default(self) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1000)

    def _fitted(self) -> DomainAdaptedClassifier:
        self.classes_ = self.estimator_.classes_
        return self

    def predict_proba(self, X: Any) -> Array:
        """(n, k) probabilities, corrected for the target prior where the adapter found one."""
        check_is_fitted(self)
        proba = np.asarray(self.estimator_.predict_proba(self._mapped(X)))
        prior = self.adaptation_.prior
        return proba if prior is None else corrected(proba, self.classes_, prior)

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        check_is_fitted(self)
        if self.adaptation_.prior is None:
            return np.asarray(self.estimator_.predict(self._mapped(X)))
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


class DomainAdaptedRegressor(RegressorMixin, _DomainAdapted):
    """An adapter and a regressor as one scikit-learn estimator; parameters as the classifier's.

    Default estimator: ridge regression.
    """

    def _default(self) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge()


def corrected(proba: Array, classes: Array, prior: Prior) -> Array:
    """p(y | x) under the target prior: ``p * target / source``, rescaled (Saerens et al. 2002)."""
    ratio = np.ones(len(classes))
    for name, source, target in zip(prior.classes, prior.source, prior.target, strict=True):
        where = np.flatnonzero(classes == name)
        if len(where) and source > 0:
            ratio[where] = target / source
    out = proba * ratio
    total = out.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(out, total, out=proba.copy(), where=total > 0))
