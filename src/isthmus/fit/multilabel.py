"""Layer 5: several yes/no labels a row: one binary head per column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy.special import expit
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from isthmus.errors import BundleError, DataError
from isthmus.fit.base import State, Stateful, check_weights, under
from isthmus.fit.folds import Fold, folds
from isthmus.fit.linear import linear_scores
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.path import (
    REPEAT_BELOW,
    Fitting,
    FoldFeatures,
    PathChoice,
    choose_C,
    path_grid,
    solve,
)
from isthmus.fit.rows import Rows
from isthmus.types import Array


class MultiLabelHead(Stateful):
    """One-versus-rest over the columns of a boolean matrix.

    With `LogisticHead` (default) all columns are fitted in the same passes over the rows and share
    one C, the one with the smallest held-out log-loss summed over the columns. Any other head is
    cloned for each column.

    A column that is constant in training has no model: its probability is the rule of
    succession, ``1 / (n + 2)`` or ``(n + 1) / (n + 2)``, n the total weight.

    Parameters
    ----------
    estimator : head, optional
        Default ``LogisticHead()``.

    Attributes
    ----------
    heads_ : list of (head or float)
        A float is the logit of a constant column.
    constant_ : list of int
        Positions of the constant columns.
    oof_logits_, oof_rows_ : (n, k) float32 and (n,) bool, or None
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        *,
        fold_features: FoldFeatures | None = None,
    ) -> Self:
        """Fit every column.

        Parameters
        ----------
        X : (n, d) array-like
        y : (n, k) bool, or two-valued numbers of which the larger means yes
        sample_weight, groups : (n,) array-like, optional
        fold_features : callable, optional
            As in `LogisticHead.fit`; other heads do not take it.

        Raises
        ------
        DataError, UsageError
        """
        X = self._check_X(X, reset=True)
        Y = _bool_columns(y, len(X))
        weights = check_weights(sample_weight, X)
        live = weights > 0
        share = Y[live].mean(axis=0)
        varied = np.flatnonzero((share > 0) & (share < 1))
        edge = float(np.log(weights.sum() + 1.0))
        self.heads_: list[Any] = [edge if s == 1 else -edge for s in share]
        self.constant_ = [int(j) for j in np.flatnonzero((share == 0) | (share == 1))]
        self.n_labels_ = Y.shape[1]
        self.classes_ = np.arange(self.n_labels_)
        self.oof_logits_: Array | None = None
        self.oof_rows_: Array | None = None
        head = LogisticHead() if self.estimator is None else self.estimator
        if not len(varied):
            return self
        if isinstance(head, LogisticHead) and head.class_weight is None:
            self._fit_together(head, X, Y, varied, weights, groups, fold_features)
        else:
            for j in varied:
                self.heads_[j] = clone(head).fit(
                    X, Y[:, j], sample_weight=sample_weight, groups=groups
                )
            self._gather_oof(len(X), varied)
        return self

    def decision_function(self, X: Any) -> Array:
        """(n, k) logits: positive means yes."""
        return self.logits(X)

    def logits(self, X: Any) -> Array:
        """(n, k) numbers whose sigmoid are the probabilities."""
        X = self._check_X(X)
        out = np.empty((len(X), self.n_labels_))
        linear = [j for j, h in enumerate(self.heads_) if isinstance(h, LogisticHead)]
        if linear:
            coef = np.concatenate([self.heads_[j].coef_ for j in linear])
            bias = np.concatenate([self.heads_[j].intercept_ for j in linear])
            out[:, linear] = linear_scores(X, coef, bias)
        for j, head in enumerate(self.heads_):
            if isinstance(head, float):
                out[:, j] = head
            elif j not in linear:
                z = head.logits(X)
                out[:, j] = z[:, 1] - z[:, 0]
        return out

    def predict_proba(self, X: Any) -> Array:
        """(n, k) probability of yes, column by column; rows do not sum to one."""
        return expit(self.logits(X))

    def predict(self, X: Any) -> Array:
        """(n, k) bool."""
        return self.logits(X) > 0

    def to_state(self) -> State:
        """State of every column's head under ``label<j>.``."""
        check_is_fitted(self)
        tensors: dict[str, Array] = {}
        labels: list[Any] = []
        for j, head in enumerate(self.heads_):
            if isinstance(head, float):
                labels.append({"constant": head})
                continue
            part, meta = head.to_state()
            tensors |= {f"label{j}.{name}": value for name, value in part.items()}
            labels.append(meta)
        return tensors, {
            "kind": type(self).__name__,
            "n_features": int(self.n_features_in_),
            "labels": labels,
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Self:
        """Read `to_state` back; predictions are bit-identical.

        Raises
        ------
        BundleError
        """
        from isthmus.fit.heads import head_from_state

        try:
            labels, width = list(meta["labels"]), int(meta["n_features"])
            out = cls()
            out.n_features_in_, out.n_labels_ = width, len(labels)
            out.classes_ = np.arange(len(labels))
            out.heads_ = []
            for j, part in enumerate(labels):
                if "constant" in part:
                    out.heads_.append(float(part["constant"]))
                    continue
                out.heads_.append(head_from_state(under(tensors, f"label{j}."), part))
            out.constant_ = [j for j, h in enumerate(out.heads_) if isinstance(h, float)]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError("the state of a head is incomplete", why=repr(error)) from None
        first = next((h for h in out.heads_ if not isinstance(h, float)), None)
        out.estimator = first
        return out

    def _fit_together(
        self,
        head: LogisticHead,
        X: Array,
        Y: Array,
        varied: Array,
        weights: Array,
        groups: Any,
        fold_features: FoldFeatures | None,
    ) -> None:
        rows = Rows(X, weights)
        targets = Y[:, varied].astype(np.float64)
        data = Fitting(rows, targets, weights, len(varied), "sigmoid")
        if not isinstance(head.C, str) and np.ndim(head.C) == 0:
            choice = PathChoice(float(path_grid(head.C, rows)[0]), "given", {})
        else:
            pairs, per_repeat, reason = label_folds(Y, weights, groups, head)
            choice = choose_C(
                data,
                pairs,
                reason,
                grid=head.C,
                scoring=head.scoring,
                one_se=head.one_se,
                per_repeat=per_repeat,
                fold_features=fold_features,
            )
        coef, intercept, passes, done = solve(
            data, choice.C, tol=head.tol, max_iter=head.max_iter, warm=choice.warm
        )
        for i, j in enumerate(varied):
            one = clone(head)
            one.n_features_in_ = self.n_features_in_
            one.classes_ = np.array([False, True])
            one.coef_, one.intercept_ = coef[i : i + 1].copy(), intercept[i : i + 1].copy()
            one.C_, one.C_how_, one.cv_scores_ = choice.C, choice.how, choice.scores
            one.n_iter_, one.converged_ = passes, done
            self.heads_[j] = one
        if choice.oof is not None and choice.oof_rows is not None:
            self._keep_oof(choice.oof, choice.oof_rows, varied)

    def _gather_oof(self, n: int, varied: Array) -> None:
        heads = [self.heads_[j] for j in varied]
        if any(getattr(head, "oof_logits_", None) is None for head in heads):
            return
        logits = np.column_stack([h.oof_logits_[:, 1] - h.oof_logits_[:, 0] for h in heads])
        self._keep_oof(logits, np.all([h.oof_rows_ for h in heads], axis=0), varied)

    def _keep_oof(self, logits: Array, rows: Array, varied: Array) -> None:
        out = np.zeros((len(logits), self.n_labels_), dtype=np.float32)
        out[:, self.constant_] = [self.heads_[j] for j in self.constant_]
        out[:, varied] = logits
        self.oof_logits_, self.oof_rows_ = out, rows

    def __sklearn_tags__(self) -> Any:
        # Not scikit-learn's "classifier": that promises one column of classes to its tools.
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = True
        tags.target_tags.single_output = False
        return tags


def label_folds(
    Y: Array, weights: Array, groups: Any, head: LogisticHead
) -> tuple[list[Fold] | None, int, str]:
    """Folds over the rows that weigh something, folds per repeat, and why there are none."""
    if not isinstance(head.cv, int | np.integer):
        pairs = [(np.asarray(a), np.asarray(b)) for a, b in head.cv]
        return pairs, len(pairs), ""
    live = np.flatnonzero(weights > 0)
    repeats = 3 if len(live) < REPEAT_BELOW else 1
    try:
        pairs = folds(
            Y[live],
            task="multilabel",
            groups=None if groups is None else np.asarray(groups)[live],
            n_splits=int(head.cv),
            n_repeats=repeats,
            random_state=head.random_state,
        )
    except DataError as error:
        return None, 0, error.what
    return [(live[a], live[b]) for a, b in pairs], len(pairs) // repeats, ""


def _bool_columns(y: Any, n: int) -> Array:
    if y is None:
        raise DataError("the fit requires y to be passed, but the target y is None")
    try:
        Y = np.asarray(y)
    except ValueError as error:
        raise DataError(str(error), where="y") from None
    if Y.ndim != 2 or len(Y) != n or not Y.shape[1]:
        raise DataError(
            f"multi-label targets of shape {Y.shape} for {n} rows",
            where="y",
            why="expected one column per label",
        )
    if Y.dtype == bool:
        return Y
    if Y.dtype.kind == "f" and not np.isfinite(Y).all():
        raise DataError("Input y contains NaN or infinity", where="y")
    values = np.unique(Y)
    if len(values) > 2 or Y.dtype.kind not in "iuf":
        raise DataError(
            "multi-label targets are not yes or no", where="y", why=f"{len(values)} values occur"
        )
    if len(values) == 1:
        return np.full(Y.shape, bool(values[0]))
    return values[1] == Y
