"""Balanced weighting: source and labelled target rows share one loss in a stated proportion."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_regressor
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.boosting import effective_size
from isthmus.adapt.few_labels import (
    EitherKind,
    class_codes,
    few_labels,
    fitted,
    logistic,
    stack,
    takes_weights,
)
from isthmus.errors import DataError, UsageError, plain_repr


class BalancedWeights(EitherKind):
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
    troubles_ : tuple of Trouble
    """

    family: ClassVar[str] = "instance"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("classification", "regression")
    numpy_only = "the estimator is scikit-learn's"

    def __init__(self, estimator: Any = None, *, trade_off: float = 0.5) -> None:
        self.estimator, self.trade_off = estimator, trade_off

    def served(self) -> Any:
        """What alone predicts new target rows: the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_

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
        who = "BalancedWeights"
        size = int(np.prod(np.shape(X)))
        base = self.estimator if self.estimator is not None else logistic(size)
        takes_weights(base, who)
        values = is_regressor(base)
        given = few_labels(X, y, sample_domain, target_labeled, who=who, values=values)
        if not values:
            class_codes(given, who)
        ns, nt = len(given.ys), len(given.yk)
        weights = np.repeat([(1 - self.trade_off) / ns, self.trade_off / nt], [ns, nt]) * (ns + nt)
        rows, labels = stack(given.Xs, given.Xk), np.concatenate([given.ys, given.yk])
        used = weights > 0  # scikit-learn would still see the classes of rows without weight
        if not values and len(set(labels[used].tolist())) < 2:
            raise DataError(
                f"the rows with weight have the one class {plain_repr(labels[used][0])}",
                where=who,
                remedy="Use a trade_off between 0 and 1",
            )
        self.estimator_, self.troubles_ = fitted(base, rows[used], labels[used], weights[used])
        self.sample_weight_, self.effective_sample_size_ = weights, effective_size(weights)
        self.n_features_in_ = rows.shape[1]
        if not values:
            self.classes_ = self.estimator_.classes_
        return self
