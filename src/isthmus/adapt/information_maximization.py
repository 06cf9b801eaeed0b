"""Information maximisation: a linear classifier whose target predictions are sure and spread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.density import some_rows, sorting
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.fitted_forms import affine, class_scores
from isthmus.adapt.maps import Affine
from isthmus.adapt.sides import codes_of, quiet_fit, sides, softmax, two_classes
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble

WHO = "InformationMaximization"
EMPTY = 0.2  # of an equal share: a class with less of the target rows counts as given up


class InformationMaximization(ClassifierMixin, BaseEstimator):
    """Keep the source right while the target rows fall into clear clusters, one a class.

    Minimises over the weights of a linear classifier, from the source classifier on,
    ``trade_off CE_source + mean H(p(y | x_t)) - balance H(mean p(y | x_t)) + |W|^2 / (2 C n_s)``:
    the mutual information between target rows and their predicted class is made large (Shi and
    Sha, *Information-theoretical learning of discriminative clusters for unsupervised domain
    adaptation*, ICML 2012, for the linear classifier; the objective that SHOT puts on a network).
    Labelled target rows join the source's cross-entropy, each side with its mean.

    The objective has many optima, and which one is near depends on a few rows. So the search is
    made on several bootstrap draws of both domains and the weights are averaged (bagging, Breiman
    1996): one linear classifier still, and over a point better on 60 real pairs (docs/log.md).

    Parameters
    ----------
    estimator : linear classifier, optional
        The start, and through its C (`C_` where it chose one) the penalty. Default: logistic
        regression with C = 1.
    trade_off : float, default=1.0
        Weight of the source.
    balance : float, default=1.0
        Weight of the entropy of the class shares, which draws them to equal shares; 0 lets a
        class be given up.
    C : float, optional
        The penalty, in place of the estimator's.
    draws : int, default=7
        Bootstrap draws: of the source within each class, of the target's unlabelled part as a
        whole; labelled target rows are all kept. 1: one search, on the rows themselves.
    max_iter : int, default=10
        L-BFGS steps of a draw. It is a local search from the source: its early end is a part of
        the method.
    max_rows : int, default=20_000
        Rows of either domain that the search reads; more are drawn at random.
    random_state : int, default=0

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    coef_, intercept_ : ndarray of shape (K, d), (K,)
    troubles_ : tuple of Trouble
        ``empty-class`` where the target rows left a class of the source.
    info_ : dict
        ``information_before``, ``information`` (nats), ``steps`` of all draws.

    Notes
    -----
    NumPy only. Cost: `draws` times `max_iter` passes over both domains, O((n_s + n_t) d K) each.
    """

    family: ClassVar[str] = "model"
    needs_labels: ClassVar[bool] = True
    numpy_only = "the estimators are scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        trade_off: float = 1.0,
        balance: float = 1.0,
        C: float | None = None,
        draws: int = 7,
        max_iter: int = 10,
        max_rows: int = 20_000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.trade_off, self.balance, self.C = estimator, trade_off, balance, C
        self.draws, self.max_iter = draws, max_iter
        self.max_rows, self.random_state = max_rows, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> InformationMaximization:
        """Fit on stacked domains.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, or the source has one class.
        UsageError
            If a parameter cannot be used, or the estimator is not linear.
        """
        self._check_parameters()
        rows = sides(X, y, sample_domain, target_labeled, who=WHO, labels_needed=False)
        self.classes_, codes = two_classes(rows.ys, WHO)
        known = codes_of(rows.yt, self.classes_, WHO)
        start = self._start()
        fine = quiet_fit(start, rows.Xs, rows.ys)
        coef, level = class_scores(start, self.classes_)
        if len(self.classes_) == 2:  # the same model with a row for each class, equally far from 0
            middle, tilt = coef.mean(axis=0), level.mean()
            coef, level = coef - middle, level - tilt
        C = self.C if self.C is not None else _penalty(start)
        target = [(rows.Xl, known)] if rows.labeled.any() else []
        before = information(softmax(rows.Xt @ coef.T + level))
        ridge = 1.0 / (C * len(rows.Xs))
        found = [
            self._search(coef, level, [(rows.Xs[s], codes[s]), *target], rows.Xt[t], ridge)
            for s, t in self._drawn(rows.Xs, codes, rows.Xt)
        ]
        mean = np.mean([one.x for one in found], axis=0)
        K, d = coef.shape
        self.coef_, self.intercept_ = mean[: K * d].reshape(K, d), mean[K * d :]
        proba = softmax(rows.Xt @ self.coef_.T + self.intercept_)
        self.troubles_: tuple[Trouble, ...] = ()
        if not fine:
            what = "the source classifier stopped at max_iter"
            self.troubles_ += (Trouble("not-converged", what, "Scale the features"),)
        shares = np.bincount(proba.argmax(axis=1), minlength=K) / len(proba)
        gone = [str(c) for c, share in zip(self.classes_, shares) if share < EMPTY / K]
        if gone:
            what = f"hardly a target row is left in {', '.join(gone[:3])}"
            self.troubles_ += (
                Trouble("empty-class", what, "Raise trade_off, or leave out absent classes"),
            )
        self.info_ = {
            "information_before": before,
            "information": information(proba),
            "steps": sum(int(one.nit) for one in found),
        }
        self.n_features_in_ = d
        return self

    def _check_parameters(self) -> None:
        if not (self.trade_off > 0 and np.isfinite(self.trade_off)):
            raise UsageError(f"trade_off={self.trade_off!r}", why="positive", where=WHO)
        if not 0 <= self.balance < np.inf:
            raise UsageError(f"balance={self.balance!r}", why="not negative", where=WHO)
        if self.C is not None and not 0 < self.C < np.inf:
            raise UsageError(f"C={self.C!r}", why="positive", where=WHO)
        if min(self.draws, self.max_iter, self.max_rows) < 1:
            raise UsageError("draws, max_iter and max_rows must be at least 1", where=WHO)

    def _start(self) -> Any:
        if self.estimator is not None:
            return clone(self.estimator)
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1000)

    def _drawn(self, Xs: Array, codes: Array, Xt: Array) -> Iterator[tuple[Array, Array]]:
        """Positions of source and target rows of each search; the rows' order plays no part."""
        rng = np.random.default_rng(self.random_state)
        s, t = (some_rows(side, self.max_rows, rng) for side in (Xs, Xt))
        if self.draws == 1:
            yield s, t
            return
        s, t = s[sorting(Xs[s], codes[s])], t[sorting(Xt[t])]
        own = [s[codes[s] == c] for c in np.unique(codes[s])]
        for _ in range(self.draws):
            again = [rows[rng.integers(0, len(rows), len(rows))] for rows in own]
            yield np.concatenate(again), t[rng.integers(0, len(t), len(t))]

    def _search(
        self,
        coef: Array,
        level: Array,
        labelled: list[tuple[Array, Array]],
        Xt: Array,
        ridge: float,
    ) -> Any:
        K, d = coef.shape
        hot = [np.eye(K)[codes] for _, codes in labelled]

        def loss(v: Array) -> tuple[float, Array]:
            W, b = v[: K * d].reshape(K, d), v[K * d :]
            logs = log_softmax(Xt @ W.T + b, axis=1)
            p = np.exp(logs)
            mean = p.mean(axis=0)
            spread = np.log(np.maximum(mean, 1e-12))
            value = -(p * logs).sum(axis=1).mean() + self.balance * (mean * spread).sum()
            pull = (self.balance * (spread + 1) - (logs + 1)) / len(p)
            gz = p * (pull - (p * pull).sum(axis=1, keepdims=True))
            gW, gb = gz.T @ Xt, gz.sum(axis=0)
            for (X, codes), one in zip(labelled, hot, strict=True):
                logs = log_softmax(X @ W.T + b, axis=1)
                value -= self.trade_off * logs[np.arange(len(X)), codes].mean()
                gz = (np.exp(logs) - one) * (self.trade_off / len(X))
                gW, gb = gW + gz.T @ X, gb + gz.sum(axis=0)
            value += 0.5 * ridge * float((W * W).sum())
            return float(value), np.concatenate([(gW + ridge * W).ravel(), gb])

        start = np.concatenate([coef.ravel(), level]).astype(np.float64)
        return minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"maxiter": self.max_iter}
        )

    def served(self) -> Affine:
        """The linear classifier as a value."""
        check_is_fitted(self)
        return affine(self.coef_, self.intercept_)

    def decision_function(self, X: Any) -> Array:
        """(n, K) scores of target rows."""
        X = new_rows(self, X)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities: surer than they are right, as the objective wants them."""
        return softmax(self.decision_function(X))

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])


def information(proba: Array) -> float:
    """Mutual information of rows and classes in nats: H(mean p) - mean H(p)."""
    mean = proba.mean(axis=0)

    def entropy(p: Array) -> Array:
        return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1))

    return float(entropy(mean) - entropy(proba).mean())


def _penalty(model: Any) -> float:
    """C of a fitted linear model, its last step in a pipeline."""
    value = getattr(model, "C_", None)
    if value is None or np.ndim(value) > 0:
        value = getattr(model, "C", 1.0)
    return float(value) if isinstance(value, int | float | np.floating) else 1.0
