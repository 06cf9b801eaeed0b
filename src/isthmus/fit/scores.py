"""Layer 5: the head of a model whose map already gives the scores of the classes, or the values."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import BundleError
from isthmus.fit.base import Stateful, softmax
from isthmus.types import Array


class ScoreHead(Stateful):
    """Columns are the answer: logits of the classes, or one column of values.

    For methods that are classifiers or regressors themselves: what they fitted is in the map.
    """

    @classmethod
    def of(cls, width: int, classes: Any = None) -> ScoreHead:
        """A head for `width` columns.

        Parameters
        ----------
        classes : array of shape (width,), int, optional
            Codes of the classes; None for values.
        """
        out = cls()
        out.n_features_in_ = int(width)
        if classes is not None:
            out.classes_ = np.asarray(classes, dtype=np.int64)
        out._check_state()
        return out

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> ScoreHead:
        """Nothing is learned but the classes."""
        X = self._check_X(X, reset=True)
        if np.asarray(y).dtype.kind in "iu":
            self.classes_ = np.unique(y)
        return self

    def logits(self, X: Any) -> Array:
        """(n, K) columns as they are, float64."""
        return np.asarray(self._check_X(X), dtype=np.float64)

    def predict(self, X: Any) -> Array:
        """(n,) class codes, or the values."""
        scores = self.logits(X)
        return self.classes_[scores.argmax(axis=1)] if hasattr(self, "classes_") else scores[:, 0]

    def predict_proba(self, X: Any) -> Array:
        """(n, K) softmax of the scores."""
        return softmax(self.logits(X))

    def _check_state(self) -> None:
        width = len(self.classes_) if hasattr(self, "classes_") else 1
        if self.n_features_in_ != width:
            raise BundleError(f"{self.n_features_in_} columns of scores for {width} answers")
