"""Layer 5: multinomial logistic regression whose penalty is chosen by cross-validation, fast."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from isthmus.errors import UsageError
from isthmus.fit.base import (
    Stateful,
    check_weights,
    class_factors,
    encode_classes,
    require_shape,
    softmax,
)
from isthmus.fit.folds import Fold
from isthmus.fit.linear import linear_scores
from isthmus.fit.path import (
    Fitting,
    FoldFeatures,
    PathChoice,
    choose_C,
    class_folds,
    draw_rows,
    path_grid,
    solve,
    solve_each,
)
from isthmus.fit.rows import Rows
from isthmus.fit.solver import Loss
from isthmus.fit.threads import calm
from isthmus.types import Array

log = logging.getLogger(__name__)


class LogisticHead(ClassifierMixin, Stateful):
    """Multinomial logistic regression, its regularisation path chosen by cross-validation.

    Minimises ``C sum_i s_i loss_i(W, b) + 1/2 ||W||^2`` with s_i = sample weight times class
    weight: scikit-learn's objective and its convention for C, so **larger C means weaker
    regularisation** and a C found here means the same in
    ``sklearn.linear_model.LogisticRegression(C=...)``. The intercept is not penalised. Two classes
    have one coefficient vector, more have one each.

    Parameters
    ----------
    C : "cv", float or sequence of float, default="cv"
        "cv" tries 13 values ``10^(i/2) / v``, i = -4..8, with v the mean squared distance of a
        training row to the mean (for standardised features: their number). A sequence is the
        grid itself; one number is taken as it is, without cross-validation. The path is walked
        from strong to weak regularisation and left when the score has dropped twice in a row.
    cv : int or list of (train, test), default=5
        Folds, stratified, and grouped when `fit` is given groups (`isthmus.fit.folds`). Below
        500 rows the deal is repeated three times.
    class_weight : None, "balanced" or dict, default=None
        "balanced" weighs a class by total / (K * its total). The score is weighted alike.
    scoring : {"log_loss", "accuracy"}, default="log_loss"
        What is compared on the held-out rows.
    one_se : bool, default=False
        Take the strongest penalty within one standard error of the best.
    max_iter : int, default=1000
        Passes over the rows in the final fit, at most.
    tol : float, default=2e-4
        Bound on the relative error of the coefficients (guaranteed by strong convexity).
    random_state : int, default=0
        Seed of the folds.

    Attributes
    ----------
    classes_ : (K,) ndarray
    coef_, intercept_ : (K, d) and (K,) float64; (1, d) and (1,) for two classes
    C_ : float
        The C of the final fit.
    C_how_ : str
        Where it comes from: given, cross-validated (and on what), or the stated default with the
        reason. Cross-validation is impossible, and ``C = 10 / v`` is taken, where fewer than two
        classes have two rows, or all rows belong to one group.
    cv_scores_ : dict of float to list of float
        Score per fold for every C tried; higher is better.
    oof_logits_, oof_rows_ : (n, K) float32 and (n,) bool, or None
        Held-out logits of the training rows at the chosen C; not part of the saved state.
    n_iter_ : int
        Passes of the final fit.
    converged_ : bool

    Notes
    -----
    A class of one row is never scored in cross-validation (its training part does not know it),
    but it is in the final fit. Where a float32 copy of the features exceeds 256 MB, C is chosen on
    a stratified draw of rows that fits (C is the prior variance of a coefficient: it does not
    scale with the number of rows); the final fit reads all rows in blocks.
    """

    _arrays = ("coef_", "intercept_")
    _facts = ("C_", "C_how_", "n_iter_", "converged_")

    def __init__(
        self,
        C: str | float | Sequence[float] = "cv",
        *,
        cv: int | list[Fold] = 5,
        class_weight: Any = None,
        scoring: str = "log_loss",
        one_se: bool = False,
        max_iter: int = 1000,
        tol: float = 2e-4,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.cv = cv
        self.class_weight = class_weight
        self.scoring = scoring
        self.one_se = one_se
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @calm
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        *,
        fold_features: FoldFeatures | None = None,
    ) -> LogisticHead:
        """Choose C, then fit on all rows.

        Parameters
        ----------
        X : (n, d) array-like
        y : (n,) class labels of any kind
        sample_weight : (n,) array-like, optional
            A weight of two is a row given twice; zero is a row removed.
        groups : (n,) array-like, optional
            Kept whole by the folds.
        fold_features : callable, optional
            ``fold_features(train)`` gives all n rows as a fold with the training positions `train`
            may see them, so that what was fitted before this head (a mean, a scale) is fitted
            anew in each fold. Costs one decomposition a fold; for small data.

        Raises
        ------
        DataError
            NaN, sparse or mismatched input; fewer than two classes.
        UsageError
            A parameter that means nothing.
        """
        if self.scoring not in ("log_loss", "accuracy"):
            raise UsageError(f"scoring={self.scoring!r}", why="known: log_loss, accuracy")
        X = self._check_X(X, reset=True)
        weights = check_weights(sample_weight, X)
        self.classes_, codes = encode_classes(y, len(X), weights)
        weights *= class_factors(self.class_weight, self.classes_, codes, weights)[codes]
        data = _problem(X, codes, weights, len(self.classes_))
        choice = self._choose(X, data, groups, fold_features)
        self.coef_, self.intercept_, self.n_iter_, self.converged_ = solve(
            data, choice.C, tol=self.tol, max_iter=self.max_iter, warm=choice.warm
        )
        if not self.converged_:
            log.warning("logistic head: tol=%g not reached in %d passes", self.tol, self.n_iter_)
        self.C_, self.C_how_, self.cv_scores_ = choice.C, choice.how, choice.scores
        self.oof_logits_ = _two_columns(choice.oof)
        self.oof_rows_ = choice.oof_rows
        return self

    def _choose(
        self, X: Array, data: Fitting, groups: Any, fold_features: FoldFeatures | None
    ) -> PathChoice:
        if not isinstance(self.C, str) and np.ndim(self.C) == 0:
            return PathChoice(float(path_grid(self.C, data.rows)[0]), "given", {})
        assert data.codes is not None
        kept, whole = None, data.rows
        if isinstance(self.cv, int | np.integer) and fold_features is None:
            kept = draw_rows(len(X), X.shape[1], data.codes, groups, self.random_state)
        if kept is not None:
            groups = None if groups is None else np.asarray(groups)[kept]
            weights = data.weights[kept]
            data = replace(
                data,
                rows=Rows(X[kept], weights),
                targets=data.targets[kept],
                weights=weights,
                codes=data.codes[kept],
            )
        assert data.codes is not None
        pairs, per_repeat, reason = class_folds(
            data.codes, data.weights, groups, cv=self.cv, random_state=self.random_state
        )
        choice = choose_C(
            data,
            pairs,
            reason,
            grid=self.C,
            scoring=self.scoring,
            one_se=self.one_se,
            per_repeat=per_repeat,
            fold_features=fold_features,
        )
        if kept is not None:
            choice.how += f", on a draw of {len(kept)} rows"
            if choice.oof is not None and choice.oof_rows is not None:
                logits, seen = choice.oof, choice.oof_rows
                choice.oof = np.zeros((len(X), logits.shape[1]), dtype=np.float32)
                choice.oof_rows = np.zeros(len(X), dtype=bool)
                choice.oof[kept], choice.oof_rows[kept] = logits, seen
            if choice.warm is not None:
                carried = whole.carry(choice.warm[0], data.rows)
                choice.warm = None if carried is None else carried[None]
        return choice

    def decision_function(self, X: Any) -> Array:
        """(n, K) scores, or (n,) for two classes."""
        X = self._check_X(X)
        out = linear_scores(X, self.coef_, self.intercept_)
        return out[:, 0] if len(self.classes_) == 2 else out

    def logits(self, X: Any) -> Array:
        """(n, K) numbers whose softmax are the probabilities; first column 0 for two classes."""
        scores = self.decision_function(X)
        return np.column_stack([np.zeros(len(scores)), scores]) if scores.ndim == 1 else scores

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities in the order of `classes_`."""
        return softmax(self.logits(X))

    def predict(self, X: Any) -> Array:
        """(n,) labels."""
        best = self.logits(X).argmax(axis=1)
        return self.classes_[best]

    def _check_state(self) -> None:
        K = len(self.classes_)
        outputs = 1 if K == 2 else K
        require_shape(self.coef_, (outputs, self.n_features_in_), "coef_")
        require_shape(self.intercept_, (outputs,), "intercept_")


@calm
def fit_each(X: Any, y: Any, weights: Array, *, C: float) -> list[LogisticHead]:
    """Heads with one penalty on the same rows under different weights, all in the same passes.

    Parameters
    ----------
    X : (n, d) array-like
    y : (n,) class labels of any kind
    weights : (P, n) float
        One row for each head; a weight of zero is a row that it does not see.
    C : float

    Returns
    -------
    list of P LogisticHead
        As ``LogisticHead(C).fit(X, y, sample_weight=weights[p])`` gives them, to `tol`.
    """
    heads = [LogisticHead(C=C) for _ in weights]
    rows = heads[0]._check_X(X, reset=True)
    known = [np.unique(np.asarray(y)[own > 0]) for own in weights]
    alike: dict[tuple[Any, ...], list[int]] = {}  # problems that know the same classes
    for p, classes in enumerate(known):
        alike.setdefault(tuple(classes.tolist()), []).append(p)
    for mine in alike.values():
        total = check_weights(weights[mine].mean(axis=0), rows)
        classes, codes = encode_classes(y, len(rows), total)
        data = _problem(rows, codes, total, len(classes))
        factors = weights[mine] / np.where(total > 0, total, 1)
        settings = heads[mine[0]]
        coef, intercept, passes, done = solve_each(
            data, C, tol=settings.tol, max_iter=settings.max_iter, factors=factors
        )
        for i, p in enumerate(mine):
            head = heads[p]
            head.n_features_in_ = rows.shape[1]
            head.classes_, head.coef_, head.intercept_ = classes, coef[i], intercept[i]
            head.n_iter_, head.converged_ = passes, bool(done[i])
            head.C_, head.C_how_, head.cv_scores_ = C, "given", {}
            head.oof_logits_ = head.oof_rows_ = None
            if not head.converged_:
                log.warning("logistic head: tol=%g not reached in %d passes", head.tol, passes)
    return heads


def _problem(X: Array, codes: Array, weights: Array, K: int) -> Fitting:
    """One column of coefficients for two classes, one a class for more."""
    loss: Loss = "sigmoid" if K == 2 else "softmax"
    targets = codes[:, None].astype(np.float64) if K == 2 else codes
    return Fitting(Rows(X, weights), targets, weights, 1 if K == 2 else K, loss, codes)


def _two_columns(oof: Array | None) -> Array | None:
    if oof is not None and oof.shape[1] == 1:
        return np.column_stack([np.zeros(len(oof), dtype=oof.dtype), oof[:, 0]])
    return oof
