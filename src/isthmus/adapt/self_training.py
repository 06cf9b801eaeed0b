"""Self-training: the surest target rows of every class join the source under their own labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from isthmus.adapt.density import some_rows
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.fitted_forms import affine, class_scores
from isthmus.adapt.maps import Affine
from isthmus.adapt.sides import codes_of, quiet_fit, sides, two_classes
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble

WHO = "SelfTraining"


class SelfTraining(ClassifierMixin, BaseEstimator):
    """Class-balanced self-training of a classifier.

    Each round labels the target rows, keeps of every predicted class the share of rows that it is
    surest of, and fits anew on the source and these rows, which carry `weight` of the total weight
    (Zou, Yu, Kumar and Wang, *Unsupervised domain adaptation for semantic segmentation via
    class-balanced self-training*, ECCV 2018: a threshold for each class, so that an easy class
    does not crowd out the others).

    Parameters
    ----------
    estimator : classifier, optional
        With `predict_proba` and `sample_weight`. Default: logistic regression.
    shares : tuple of float, default=(0.3, 0.5, 0.7)
        Share of the rows of each predicted class that is kept, one number a round.
    weight : float, default=1/3
        Share of the total weight that the kept rows carry.
    max_rows : int, default=20_000
        Rows of either domain that the fits read; more are drawn at random.
    random_state : int, default=0

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    estimator_ : classifier
        Of the last round.
    troubles_ : tuple of Trouble
        ``empty-class`` where a class of the source was given to no target row.
    info_ : dict
        ``changed``: share of target rows whose label differs from the source classifier's.

    Notes
    -----
    NumPy only. Cost: one fit a round, and the first.
    """

    family: ClassVar[str] = "model"
    needs_labels: ClassVar[bool] = True
    numpy_only = "the estimators are scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        shares: tuple[float, ...] = (0.3, 0.5, 0.7),
        weight: float = 1 / 3,
        max_rows: int = 20_000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.shares, self.weight = estimator, shares, weight
        self.max_rows, self.random_state = max_rows, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> SelfTraining:
        """Fit on stacked domains; labelled target rows keep their label and count as kept.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, or the source has one class.
        UsageError
            If a parameter cannot be used.
        """
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise UsageError(f"shares={self.shares!r}", why="each in (0, 1]", where=WHO)
        if not 0 < self.weight < 1 or self.max_rows < 1:
            raise UsageError("weight must lie in (0, 1), max_rows be at least 1", where=WHO)
        rows = sides(X, y, sample_domain, target_labeled, who=WHO, labels_needed=False)
        self.classes_, codes = two_classes(rows.ys, WHO)
        known = codes_of(rows.yt, self.classes_, WHO)
        model = self._fresh()
        rng = np.random.default_rng(self.random_state)
        s, t = (some_rows(side, self.max_rows, rng) for side in (rows.Xs, rows.Xt))
        fixed = np.full(len(rows.Xt), -1)
        fixed[rows.labeled] = known
        t = np.union1d(t, np.flatnonzero(rows.labeled))
        Xs, ys, Xt, fixed = rows.Xs[s], codes[s], rows.Xt[t], fixed[t]
        fine = quiet_fit(model, Xs, ys)
        first = self._labels(model, rows.Xt).argmax(axis=1)
        for share in self.shares:
            proba = self._labels(model, Xt)
            guess = np.where(fixed >= 0, fixed, proba.argmax(axis=1))
            kept = surest(proba.max(axis=1), guess, share) | (fixed >= 0)
            weights = np.concatenate(
                [
                    np.full(len(Xs), (1 - self.weight) / len(Xs)),
                    np.full(int(kept.sum()), self.weight / kept.sum()),
                ]
            )
            model = self._fresh()
            fine &= quiet_fit(
                model,
                np.concatenate([Xs, Xt[kept]]),
                np.concatenate([ys, guess[kept]]),
                sample_weight=weights / weights.mean(),
            )
        self.estimator_ = model
        last = self._labels(model, rows.Xt).argmax(axis=1)
        self.troubles_: tuple[Trouble, ...] = ()
        if not fine:
            what = "a fit stopped at max_iter"
            self.troubles_ += (Trouble("not-converged", what, "Scale the features"),)
        gone = [str(c) for i, c in enumerate(self.classes_) if not (last == i).any()]
        if gone:
            what = f"no target row is left in {', '.join(gone[:3])}"
            self.troubles_ += (Trouble("empty-class", what, "See whether the target has it"),)
        self.info_ = {"changed": float((first != last).mean()), "rounds": len(self.shares)}
        self.n_features_in_ = rows.Xt.shape[1]
        return self

    def _fresh(self) -> Any:
        if self.estimator is None:
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(max_iter=1000)
        model = clone(self.estimator)
        if not hasattr(model, "predict_proba") or not has_fit_parameter(model, "sample_weight"):
            raise UsageError(
                f"{type(model).__name__} lacks predict_proba or sample_weight",
                where=WHO,
                remedy="Use a classifier that has both, such as logistic regression",
            )
        return model

    def _labels(self, model: Any, rows: Array) -> Array:
        """(n, K) probabilities; the classes of a round are all classes: the source has them."""
        return np.asarray(model.predict_proba(rows))

    def served(self) -> Affine:
        """The last classifier as a value; it must be linear."""
        check_is_fitted(self)
        return affine(*class_scores(self.estimator_, np.arange(len(self.classes_))))

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities of the last classifier."""
        return self._labels(self.estimator_, new_rows(self, X))

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def surest(confidence: Array, guess: Array, share: float) -> Array:
    """(n,) bool: of every guessed class the given share of rows, the surest, at least one.

    Rows as sure as the last one kept are kept as well: their order does not matter.
    """
    kept = np.zeros(len(guess), dtype=bool)
    for c in np.unique(guess):
        at = np.flatnonzero(guess == c)
        count = max(1, int(share * len(at)))
        least = np.partition(confidence[at], len(at) - count)[len(at) - count]
        kept[at] = confidence[at] >= least
    return kept
