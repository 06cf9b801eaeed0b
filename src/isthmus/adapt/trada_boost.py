"""TrAdaBoost: source rows that contradict the labelled target rows lose their say."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.boosting import (
    effective_size,
    fit_weighted,
    source_factor,
    starting_weights,
    vote_scores,
)
from isthmus.adapt.few_labels import (
    class_codes,
    few_labels,
    logistic,
    numbers,
    stack,
    takes_weights,
)
from isthmus.adapt.fitted_forms import Votes
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble


class TrAdaBoost(ClassifierMixin, BaseEstimator):
    """Transfer boosting for classification, with any number of classes.

    Each round fits the estimator to source and labelled target rows. With e its weighted error on
    the target rows, K classes and ``a = ln((1 - e) / e) + ln(K - 1)``, a wrong target row gains
    ``exp(a)`` (SAMME, Zhu et al. 2009; AdaBoost for K = 2) and a wrong source row loses
    ``b = 1 / (1 + sqrt(2 ln n / N))``; the second half of the N learners votes with weights a
    (Dai, Yang, Xue and Yu, *Boosting for transfer learning*, ICML 2007, algorithm 1).

    Parameters
    ----------
    estimator : classifier, optional
        Its `fit` takes `sample_weight`. Default: logistic regression.
    n_estimators : int, default=20
        N.
    dynamic : bool, default=True
        Dynamic TrAdaBoost (Al-Stouhi and Reddy, *Adaptive boosting for transfer learning using
        dynamic updates*, ECML PKDD 2011): source weights grow by ``K (1 - e)`` a round, as the
        target rows do together. Without it the share of the source shrinks even where every
        source row is right, so that late rounds, the ones that vote, see little but the few
        target rows. False is the algorithm of 2007.
    target_share : float, optional
        Share of the weight that the labelled target rows start with, up to 1 (target-only).
        Default: every row counts alike, as in the paper's experiments.
    random_state : int, default=0
        For estimators that draw.

    Attributes
    ----------
    classes_ : ndarray
    estimators_ : list
    estimator_errors_ : ndarray of shape (N,)
        e of each learner.
    estimator_weights_ : ndarray of shape (N,)
        Votes: a in the second half, 0 before and for learners no better than chance.
    source_weights_ : ndarray of shape (n,)
        Weights of the last round, in units of the mean over all rows.
    troubles_ : tuple of Trouble
    info_ : dict
        ``target_share`` of every round, ``effective_sample_size`` of the last.

    Notes
    -----
    The papers need e < 1 - 1/K. Where a learner misses that (the source outvotes the target), it
    gets no vote and judges no source row; the target rows together gain ``1 / b`` instead, until
    they are heard. An error below half a row's share, 1 / (2 m), counts as that. NumPy or SciPy
    sparse rows.
    """

    family: ClassVar[str] = "instance"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("classification",)
    numpy_only = "the estimator is scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_estimators: int = 20,
        dynamic: bool = True,
        target_share: float | None = None,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.n_estimators, self.dynamic = estimator, n_estimators, dynamic
        self.target_share, self.random_state = target_share, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> TrAdaBoost:
        """Fit on source rows and on target rows whose label may be used.

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
            If a domain is empty, no target row is labelled, or all rows are of one class.
        UsageError
            If a parameter is out of range or the estimator takes no weights.
        """
        who = "TrAdaBoost"
        if self.n_estimators < 1:
            raise UsageError(f"n_estimators={self.n_estimators}", where=who, why=">= 1 is needed")
        given = few_labels(X, y, sample_domain, target_labeled, who=who)
        base = self.estimator
        if base is None:
            size = given.Xs.shape[0] * given.Xs.shape[1]
            base = logistic(size, warm_start=True)  # weights change little from round to round
        takes_weights(base, who)
        self.classes_, source, target = class_codes(given, who)
        n, m, k = len(source), len(target), len(self.classes_)
        rows, codes = stack(given.Xs, given.Xk), np.concatenate([source, target])
        weights = starting_weights(n, m, self.target_share, who)
        factor = source_factor(n, self.n_estimators)
        self.estimators_: list[Any] = []
        errors, votes, shares, weak = [], [], [], 0
        troubles: tuple[Trouble, ...] = ()
        for number in range(self.n_estimators):
            shares.append(float(weights[n:].sum()))
            seen = weights.copy()
            before = self.estimators_[-1] if self.estimators_ else None
            seed = self.random_state + number
            model, found = fit_weighted(base, rows, codes, weights, seed, before=before)
            troubles += found
            wrong = model.predict(rows) != codes
            error = float(weights[n:] @ wrong[n:] / weights[n:].sum())
            self.estimators_.append(model)
            errors.append(error)
            if error >= 1 - 1 / k:
                votes.append(0.0)
                weak += 1
                weights[n:] /= factor
            else:
                known = max(error, 1 / (2 * m))
                votes.append(float(np.log((1 - known) / known) + np.log(k - 1)))
                before = weights[n:].sum()
                weights[n:][wrong[n:]] *= np.exp(votes[-1])
                weights[:n][wrong[:n]] *= factor
                if self.dynamic:
                    weights[:n] *= weights[n:].sum() / before
            weights /= weights.sum()
        voters = np.array(votes)
        voters[: (self.n_estimators + 1) // 2 - 1] = 0
        if not voters.any():
            voters[-1] = 1.0
        if weak:
            troubles += (
                Trouble(
                    "weak-learner",
                    f"{weak} of {self.n_estimators} learners were no better than chance on the "
                    "target",
                    "Raise target_share or n_estimators, or take a richer estimator",
                ),
            )
        self.estimator_errors_, self.estimator_weights_ = np.array(errors), voters
        self.source_weights_ = seen[:n] * (n + m)
        self.troubles_ = tuple(dict.fromkeys(troubles))
        self.info_ = {"target_share": shares, "effective_sample_size": effective_size(seen)}
        self.n_features_in_ = rows.shape[1]
        return self

    def served(self) -> Votes:
        """What alone predicts new target rows: the votes; the learners must be linear."""
        check_is_fitted(self)
        return Votes.of(self.estimators_, self.estimator_weights_, len(self.classes_))

    def predict_proba(self, X: Any) -> Array:
        """(n, k) from the shares of the votes as in scikit-learn's AdaBoost; not calibrated."""
        check_is_fitted(self)
        X = numbers(X, "TrAdaBoost")
        k = len(self.classes_)
        shares = np.zeros((X.shape[0], k))
        for model, weight in zip(self.estimators_, self.estimator_weights_, strict=True):
            if weight > 0:
                shares[np.arange(len(shares)), model.predict(X)] += weight
        shares /= self.estimator_weights_.sum()
        return np.asarray(softmax(vote_scores(shares), axis=1))

    def predict(self, X: Any) -> Array:
        """Class with the most votes for each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
