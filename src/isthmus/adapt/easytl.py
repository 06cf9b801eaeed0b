"""EasyTL: nearest class mean after alignment, every class used (Wang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import numpy as xnp
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.base import check_domains
from isthmus.adapt.coral import covariance, power
from isthmus.adapt.density import squared_distances
from isthmus.adapt.few_labels import new_rows
from isthmus.data.domains import split_domains
from isthmus.errors import UsageError
from isthmus.types import Array


class EasyTL(ClassifierMixin, BaseEstimator):
    """Easy transfer learning: no parameter to choose, no model to train.

    The source is aligned to the target (CORAL) and each target row gets a class so that the sum
    of distances to the class means is least and every class is used at least once (Wang, Chen,
    Yu, Huang and Yang, *Easy transfer learning by exploiting intra-domain structures*, ICME 2019,
    eq. 3). The linear programme of the paper has whole-number solutions: one row is reserved for
    each class at the least total regret (an assignment problem), every other row takes its
    nearest mean. That is solved exactly, in O(n_t C^2).

    Parameters
    ----------
    alignment : {'coral', 'none'}, default='coral'
        CORAL with a ridge of 1 on rows that are not centred, as the authors have it.

    Attributes
    ----------
    classes_ : ndarray
    centers_ : ndarray of shape (C, d)
        Means of the aligned source classes.
    labels_ : ndarray of shape (n_t,)
        Classes of the target rows of `fit`.

    Notes
    -----
    NumPy only. `predict` gives new rows their nearest mean: a single row cannot know of the
    others that every class must be used.
    """

    family: ClassVar[str] = "feature"
    needs_labels: ClassVar[bool] = True

    def __init__(self, *, alignment: str = "coral") -> None:
        self.alignment = alignment

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> EasyTL:
        """Class means of the aligned source, and classes of the target rows.

        Parameters
        ----------
        X : array of shape (n, d)
        y : array of shape (n,)
            Read on source rows, and on target rows that `target_labeled` names (they join the
            class means).
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool, optional

        Raises
        ------
        DataError
            If a side is empty or a value is missing.
        UsageError
            If `alignment` is unknown.
        """
        if self.alignment not in ("coral", "none"):
            raise UsageError(f"unknown alignment {self.alignment!r}", remedy="Use coral or none")
        parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
        self.n_features_in_ = int(np.shape(parts.Xs)[1])
        given = check_domains(parts.Xs, parts.ys, parts.Xt, labels=True, who="EasyTL")
        rows, labels = given.Xs, parts.ys
        if self.alignment == "coral":
            # the authors multiply rows that are not centred: the mean goes through the map too
            cs, ct = (covariance(np, X - X.mean(axis=0)) for X in (given.Xs, given.Xt))
            rows = given.Xs @ (power(np, cs, -0.5, 1.0) @ power(np, ct, 0.5, 1.0))
        if parts.labeled.any():
            rows = np.concatenate([rows, given.Xt[parts.labeled]])
            labels = np.concatenate([labels, parts.yt])
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self.centers_ = np.stack(
            [rows[codes == c].mean(axis=0) for c in range(len(self.classes_))]
        ).astype(np.float64)
        self.labels_ = self.classes_[programme(-MeanDistances(self.centers_)(given.Xt))]
        self.labels_[parts.labeled] = parts.yt
        return self

    def served(self) -> MeanDistances:
        """What alone predicts new target rows: the distances to the class means, negative."""
        check_is_fitted(self)
        return MeanDistances(self.centers_)

    def decision_function(self, X: Any) -> Array:
        """(n, C) distances to the class means, negative: larger is nearer."""
        return self.served()(new_rows(self, X))

    def predict(self, X: Any) -> Array:
        """Class of the nearest mean of each target row."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])


@dataclass(frozen=True)
class MeanDistances:
    """Negative Euclidean distances to class means, (n, C).

    Parameters
    ----------
    centers : ndarray of shape (C, d)
    """

    centers: Array

    def __call__(self, rows: Any) -> Array:
        rows = np.asarray(rows, dtype=np.float64)
        return -np.sqrt(squared_distances(xnp, rows, self.centers))


def programme(distances: Array) -> Array:
    """Class of each row: least total distance, every class used (where there are rows enough).

    Parameters
    ----------
    distances : ndarray of shape (n, C)

    Returns
    -------
    ndarray of shape (n,), int

    Examples
    --------
    >>> programme(np.array([[0.0, 3.0], [0.0, 1.0], [0.0, 2.0]])).tolist()
    [0, 1, 0]
    """
    nearest = distances.argmin(axis=1)
    n, classes = distances.shape
    if n < classes or len(np.unique(nearest)) == classes:
        return np.asarray(nearest)
    regret = distances - distances.min(axis=1, keepdims=True)
    rows, taken = linear_sum_assignment(regret)
    out = nearest.copy()
    out[rows] = taken
    return np.asarray(out)
