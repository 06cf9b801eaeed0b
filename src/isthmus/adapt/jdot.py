"""JDOT: transport of features and labels together, with the classifier in the cost."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from isthmus.adapt.base import check_domains
from isthmus.adapt.joint_transport import JointPlan, alternate
from isthmus.data.domains import split_domains
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.types import Array

FLOOR = 1e-3  # smallest probability in the cost: one sure mistake must not outweigh the features


class JDOT(ClassifierMixin, BaseEstimator):
    """Joint distribution optimal transport for classification.

    Finds a plan P and a classifier f of the **target** together: the plan minimises
    ``<P, C + trade_off L>``, with C the squared distances in units of their median and
    ``L_ij = -log p_f(y_i | x_j)``; f is fitted to the target rows with the class shares that P
    brings them (Courty, Flamary, Habrard and Rakotomamonjy, *Joint distribution optimal
    transportation for domain adaptation*, NeurIPS 2017, algorithm 1). Plans by `ot.emd`.

    Parameters
    ----------
    estimator : classifier, optional
        With `predict_proba` and `sample_weight`. Default: logistic regression.
    trade_off : float, default=1.0
        Weight of the label cost beside the feature cost (the paper's 1 / alpha).
    max_iter : int, default=10
        Rounds of plan and classifier; the first plan knows the features alone.
    tol : float, default=1e-4
        Relative change of the objective at which the rounds end; otherwise a ``not-converged``
        trouble is kept in `troubles_` (rounds may swing between two plans).
    solver : {"auto", "exact", "approximate"}, default="auto"
        One plan, or mini-batch transport (Fatras et al. 2021; Damodaran et al., *DeepJDOT*,
        2018) on at most `max_rows` random rows of each side.
    max_exact : int, default=2000
        ``"auto"``: one plan up to ``max_exact ** 2`` cells; each round solves it anew.
    batch : int, optional
        Default: 250 of `max_rows` rows, more where there are fewer, at most `max_exact`.
    max_rows : int, default=10_000
    random_state : int, default=0
        Draws rows and blocks.

    Attributes
    ----------
    classes_ : ndarray
    estimator_ : classifier
        Of target rows; any new target row can be given.
    shares_ : ndarray of shape (n_t, n_classes)
        What the last plan says of the target rows that the fit saw.
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    NumPy only: the estimator is scikit-learn's. Labelled target rows keep their label.
    """

    family: ClassVar[str] = "transport"
    needs_labels: ClassVar[bool] = True
    extra: ClassVar[str] = "transport"

    def __init__(
        self,
        estimator: Any = None,
        *,
        trade_off: float = 1.0,
        max_iter: int = 10,
        tol: float = 1e-4,
        solver: str = "auto",
        max_exact: int = 2000,
        batch: int | None = None,
        max_rows: int = 10_000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.trade_off, self.max_iter, self.tol = (
            estimator,
            trade_off,
            max_iter,
            tol,
        )
        self.solver, self.max_exact, self.batch = solver, max_exact, batch
        self.max_rows, self.random_state = max_rows, random_state

    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None) -> JDOT:
        """Fit on stacked domains (see `isthmus.data.domains.stack_domains`).

        Raises
        ------
        DataError
            If a domain is empty, or a value is missing.
        UsageError
            If the estimator gives no probabilities or takes no weights.
        """
        parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
        given = check_domains(parts.Xs, parts.ys, parts.Xt, labels=True, who="JDOT")
        if len(given.classes) < 2:
            raise DataError("the source rows have one class", where="JDOT")
        model = clone(self.estimator) if self.estimator is not None else _default()
        if not hasattr(model, "predict_proba") or not has_fit_parameter(model, "sample_weight"):
            raise UsageError(
                f"{type(model).__name__} has no predict_proba or takes no sample_weight",
                where="JDOT",
                remedy="Use an estimator with both, such as LogisticRegression",
            )
        self.n_features_in_, self.classes_ = given.Xs.shape[1], given.classes
        known = np.full(len(given.Xt), -1)
        if parts.labeled.any():
            codes = np.searchsorted(self.classes_, parts.yt).clip(0, len(self.classes_) - 1)
            if (self.classes_[codes] != parts.yt).any():
                raise DataError("a labelled target row has a class that the source lacks")
            known[parts.labeled] = codes
        hot = np.eye(len(self.classes_))

        def refit(moved: Array, rows: Array) -> None:
            fixed = known[rows] >= 0
            moved[fixed] = hot[known[rows][fixed]]
            at, label = np.nonzero(moved > 1e-6)
            if len(np.unique(label)) < 2:
                one = plain_repr(self.classes_[label[0]])
                raise DataError(
                    f"every target row was given the one class {one}",
                    where="JDOT",
                    why="a classifier needs two",
                    remedy="Give more target rows",
                )
            model.fit(given.Xt[rows][at], self.classes_[label], sample_weight=moved[at, label])

        def loss(rows: Array) -> Array:
            """(rows, classes) cost of calling a target row that class."""
            proba = np.full((len(rows), len(hot)), 0.0)
            proba[:, np.searchsorted(self.classes_, model.classes_)] = model.predict_proba(
                given.Xt[rows]
            )
            fixed = known[rows] >= 0
            proba[fixed] = hot[known[rows][fixed]]
            return np.asarray(-np.log(np.maximum(proba, FLOOR)))

        found: JointPlan = alternate(
            given.Xs,
            given.Xt,
            hot[given.codes],
            refit,
            lambda source, rows: loss(rows)[:, given.codes[source]].T,
            trade_off=self.trade_off,
            max_iter=self.max_iter,
            tol=self.tol,
            solver=self.solver,
            max_exact=self.max_exact,
            batch=self.batch,
            max_rows=self.max_rows,
            random_state=self.random_state,
            who="JDOT",
        )
        self.estimator_, self.shares_ = model, found.moved
        self.troubles_, self.info_ = found.troubles, found.info
        return self

    def served(self) -> Any:
        """What alone predicts new target rows: the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_

    def predict_proba(self, X: Any) -> Array:
        """(n, n_classes) for target rows, columns as in `classes_`."""
        check_is_fitted(self)
        out = np.zeros((len(X), len(self.classes_)))
        out[:, np.searchsorted(self.classes_, self.estimator_.classes_)] = (
            self.estimator_.predict_proba(np.asarray(X))
        )
        return out

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def _default() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)
