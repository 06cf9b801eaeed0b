"""TrAdaBoost.R2: transfer boosting for regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.boosting import (
    effective_size,
    fit_weighted,
    relative_errors,
    source_factor,
    starting_weights,
    vote,
    weighted_median,
)
from isthmus.adapt.few_labels import few_labels, numbers, ridge, stack, takes_weights
from isthmus.adapt.fitted_forms import MedianOf
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble


class TrAdaBoostR2(RegressorMixin, BaseEstimator):
    """Transfer boosting for regression.

    As `TrAdaBoost`, with ``e_i = |y_i - h(x_i)| / max_j |y_j - h(x_j)|`` for right and wrong: a
    source row is multiplied by ``b ** e_i``, ``b = 1 / (1 + sqrt(2 ln n / N))``, a target row by
    ``b_t ** -e_i``, ``b_t = e / (1 - e)`` with e the weighted mean of the target errors; the
    prediction is the median of the second half of the learners, weighted by ``ln(1 / b_t)``
    (Pardoe and Stone, *Boosting for regression transfer*, ICML 2010, section 4.1).

    Parameters
    ----------
    estimator : regressor, optional
        Its `fit` takes `sample_weight`. Default: ridge regression; take trees for tables.
    n_estimators : int, default=20
        N; boosting ends before it where e reaches 1/2.
    target_share : float, optional
        Share of the weight that the labelled target rows start with, up to 1 (target-only).
        Default: every row counts alike (the paper).
    random_state : int, default=0
        For estimators that draw.

    Attributes
    ----------
    estimators_ : list
    estimator_errors_ : ndarray
        e of each learner.
    estimator_weights_ : ndarray
        Votes: 0 in the first half.
    source_weights_ : ndarray of shape (n,)
        Weights of the last round, in units of the mean over all rows.
    troubles_ : tuple of Trouble
    info_ : dict
        ``target_share`` of every round, ``effective_sample_size`` of the last.

    Notes
    -----
    The share of the source shrinks from round to round, whether it is right or not;
    `TwoStageTrAdaBoostR2` chooses the share by cross-validation. NumPy or SciPy sparse rows.
    """

    family: ClassVar[str] = "instance"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("regression",)
    numpy_only = "the estimator is scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_estimators: int = 20,
        target_share: float | None = None,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.n_estimators = estimator, n_estimators
        self.target_share, self.random_state = target_share, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> TrAdaBoostR2:
        """Fit on source rows and on target rows whose value may be used.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, d)
        y : array of shape (n,)
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool
            At least one row.

        Raises
        ------
        DataError
            If a domain is empty, no target row is labelled, or a value is missing.
        UsageError
            If a parameter is out of range or the estimator takes no weights.
        """
        who = "TrAdaBoostR2"
        if self.n_estimators < 1:
            raise UsageError(f"n_estimators={self.n_estimators}", where=who, why=">= 1 is needed")
        base = self.estimator if self.estimator is not None else ridge()
        takes_weights(base, who)
        given = few_labels(X, y, sample_domain, target_labeled, who=who, values=True)
        n, m = len(given.ys), len(given.yk)
        rows, values = stack(given.Xs, given.Xk), np.concatenate([given.ys, given.yk])
        weights = starting_weights(n, m, self.target_share, who)
        factor = source_factor(n, self.n_estimators)
        self.estimators_: list[Any] = []
        errors, votes, shares = [], [], []
        troubles: tuple[Trouble, ...] = ()
        for number in range(self.n_estimators):
            model, found = fit_weighted(base, rows, values, weights, self.random_state + number)
            troubles += found
            # rows without weight took no part, so that they do not set the scale either
            used = weights > 0
            loss = np.zeros(n + m)
            loss[used] = relative_errors(model.predict(rows)[used], values[used])
            error = float(weights[n:] @ loss[n:] / weights[n:].sum())
            if error >= 0.5 and self.estimators_:
                break
            shares.append(float(weights[n:].sum()))
            seen = weights.copy()
            self.estimators_.append(model)
            errors.append(error)
            votes.append(vote(error))
            if error >= 0.5:
                reason = f"the first learner has an error of {error:.2f} on the target"
                remedy = "Raise target_share, or take a richer estimator"
                troubles += (Trouble("weak-learner", reason, remedy),)
                break
            if error == 0:
                break
            weights[:n] *= factor ** loss[:n]
            weights[n:] *= (error / (1 - error)) ** -loss[n:]
            weights /= weights.sum()
        voters = np.array(votes)
        voters[: (len(votes) + 1) // 2 - 1] = 0
        self.estimator_errors_, self.estimator_weights_ = np.array(errors), voters
        self.source_weights_ = seen[:n] * (n + m)
        self.troubles_ = tuple(dict.fromkeys(troubles))
        self.info_ = {"target_share": shares, "effective_sample_size": effective_size(seen)}
        self.n_features_in_ = rows.shape[1]
        return self

    def served(self) -> MedianOf:
        """What alone predicts new target rows: the median; the learners must be linear."""
        check_is_fitted(self)
        return MedianOf.of(self.estimators_, self.estimator_weights_)

    def predict(self, X: Any) -> Array:
        """Weighted median of the learners for each target row."""
        check_is_fitted(self)
        X = numbers(X, "TrAdaBoostR2")
        at = np.flatnonzero(self.estimator_weights_)
        guesses = np.column_stack([self.estimators_[i].predict(X) for i in at])
        return weighted_median(guesses, self.estimator_weights_[at])
