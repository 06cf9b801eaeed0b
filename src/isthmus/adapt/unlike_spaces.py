"""Layer 4: from a plan between unlike feature spaces to labels and a classifier of the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError

from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.types import Array, Trouble

# a plan (n, m) and its troubles, from source rows, target rows and an (n, m) array that is 1
# where a labelled target row is of another class, or None
Match = Callable[[Array, Array, "Array | None"], tuple[Array, tuple[Trouble, ...], dict[str, Any]]]


class UnlikeSpacesClassifier(ClassifierMixin, BaseEstimator):
    """What the matching methods share once they have a plan: labels follow the mass.

    Finished; a method passes its matching function to `_carry_labels`.
    """

    family: ClassVar[str] = "relation"
    needs_labels: ClassVar[bool] = True
    extra: ClassVar[str] = "transport"
    unlike_spaces = True

    def _carry_labels(
        self, Xs: Any, ys: Any, Xt: Any, yt: Any, *, match: Match, who: str, params: dict[str, Any]
    ) -> Any:
        max_exact, seed = int(params["max_exact"]), params["random_state"]
        if max_exact < 2:
            raise UsageError(f"max_exact={max_exact}", where=who, remedy="Use 2 or more")
        Xs, Xt, ys = _matrix(Xs, "source", who), _matrix(Xt, "target", who), np.asarray(ys)
        if ys.shape != (len(Xs),):
            raise DataError(f"{ys.shape} source labels for {len(Xs)} source rows", where=who)
        self.classes_, codes = np.unique(ys, return_inverse=True)
        known = np.full(len(Xt), -1)
        if yt is not None:
            if len(yt) != len(Xt):
                raise DataError(f"{len(yt)} target labels for {len(Xt)} target rows", where=who)
            place = {c: i for i, c in enumerate(self.classes_.tolist())}
            for row, label in enumerate(np.asarray(yt, dtype=object)):
                if label is None or label != label:  # None or NaN: that row has no label
                    continue
                if label not in place:
                    raise DataError(
                        f"target label {plain_repr(label)} is no source class", where=who
                    )
                known[row] = place[label]
        rng = np.random.default_rng(seed)
        source = np.sort(rng.permutation(len(Xs))[:max_exact])
        # labelled rows first: they are what fixes the correspondence
        order = rng.permutation(len(Xt))
        order = order[np.argsort(known[order] < 0, kind="stable")]
        target = np.sort(order[:max_exact])
        differs = None
        if (known >= 0).any():
            k = known[target]
            differs = ((k >= 0) & (codes[source][:, None] != k)).astype(float)
        plan, self.troubles_, info = match(Xs[source], Xt[target], differs)
        hot = np.eye(len(self.classes_))
        shares = plan.T @ hot[codes[source]]
        mass = shares.sum(axis=1, keepdims=True)
        shares = np.divide(shares, mass, out=np.full_like(shares, 1 / len(hot)), where=mass > 0)
        fixed = known[target] >= 0
        shares[fixed] = hot[known[target][fixed]]
        model = params["estimator"]
        if model is None:
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler

            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        self.plan_, self.source_rows_, self.target_rows_ = plan, source, target
        self.shares_, self.labels_ = shares, self.classes_[shares.argmax(axis=1)]
        if len(np.unique(self.labels_)) < 2:
            from sklearn.dummy import DummyClassifier

            self.troubles_ += (
                Trouble(
                    "degenerate",
                    f"every target row received the label {plain_repr(self.labels_[0])}",
                    "Give labels of a few target rows (yt)",
                ),
            )
            model = DummyClassifier()
        self.estimator_ = clone(model).fit(Xt[target], self.labels_)
        self.n_features_in_ = Xt.shape[1]
        self.info_ = info | {
            "solver": "exact" if len(target) == len(Xt) and len(source) == len(Xs) else "subset",
            "rows": [len(source), len(target)],
        }
        return self

    def _check_fitted(self) -> None:
        # scikit-learn's own check wants a `fit`, which one matrix for both sides rules out
        if not hasattr(self, "estimator_"):
            raise NotFittedError(f"{type(self).__name__}: call fit_domains first")

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        self._check_fitted()
        return np.asarray(self.estimator_.predict(np.asarray(X)))

    def predict_proba(self, X: Any) -> Array:
        """(n, n_classes), columns as in `classes_`; a class that no row received has 0."""
        self._check_fitted()
        out = np.zeros((len(X), len(self.classes_)))
        columns = np.searchsorted(self.classes_, self.estimator_.classes_)
        out[:, columns] = self.estimator_.predict_proba(np.asarray(X))
        return out


def _matrix(X: Any, side: str, who: str) -> Array:
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or not len(X):
        raise DataError(f"{side} features of shape {X.shape}: no rows by columns", where=who)
    if not np.isfinite(X).all():
        raise DataError(f"the {side} features hold NaN or infinity", where=who)
    return X
