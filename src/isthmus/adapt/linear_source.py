"""Layer 4: a linear source model as a value: all that hypothesis transfer needs of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import UsageError
from isthmus.types import Array


@dataclass(frozen=True)
class LinearSource:
    """Weights of a linear model; it can be handed over where rows cannot.

    Parameters
    ----------
    coef : ndarray of shape (K, d)
        One row for two classes or one regression target; otherwise one a class.
    intercept : ndarray of shape (K,)
    classes : ndarray, optional
        Sorted; None for regression.
    """

    coef: Array
    intercept: Array
    classes: Array | None = None

    @classmethod
    def of(cls, model: Any) -> LinearSource:
        """From a fitted scikit-learn model with `coef_` and `intercept_`, or such a value itself.

        Raises
        ------
        UsageError
            If the model is not linear, not fitted, or holds numbers that are not finite.
        """
        coef: Any
        intercept: Any
        if isinstance(model, LinearSource):
            coef, intercept, classes = model.coef, model.intercept, model.classes
        else:
            coef, intercept = getattr(model, "coef_", None), getattr(model, "intercept_", 0.0)
            classes = getattr(model, "classes_", None)
        if coef is None:
            raise UsageError(
                f"{type(model).__name__} has no coef_",
                where="source",
                why="the weights of a fitted linear model are needed",
                remedy="Give a fitted linear model (of a pipeline its last step), or LinearSource",
            )
        coef = np.array(np.atleast_2d(coef), dtype=np.float64)
        intercept = np.array(np.atleast_1d(intercept), dtype=np.float64)
        if len(intercept) == 1:
            intercept = np.repeat(intercept, len(coef))
        if classes is not None:
            classes = np.asarray(classes)
            if len(classes) == 2 and len(coef) == 2:  # two rows say the same as their difference
                coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
            wanted = 1 if len(classes) == 2 else len(classes)
        else:
            wanted = len(coef)
        if len(coef) != wanted or intercept.shape != (wanted,):
            raise UsageError(
                f"coef of shape {coef.shape} and intercept of shape {intercept.shape}",
                where="source",
                why="" if classes is None else f"{len(classes)} classes need {wanted} rows",
            )
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise UsageError("the weights hold NaN or infinity", where="source")
        return cls(coef, intercept, classes)

    def scores(self, X: Array) -> Array:
        """(n, K) linear scores."""
        return np.asarray(X @ self.coef.T + self.intercept)


def is_given(source: Any) -> bool:
    """Whether `source` is a fitted model or a value, and no source row is needed."""
    return isinstance(source, LinearSource) or hasattr(source, "coef_")
