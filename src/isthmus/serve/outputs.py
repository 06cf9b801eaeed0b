"""Layer 7: what a model says about rows of features: names, probabilities or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.fit.open_set import novelty_of
from isthmus.types import Array

if TYPE_CHECKING:
    from isthmus.fit.blend import Model


@dataclass(frozen=True)
class Outputs:
    """Answers for n rows.

    Parameters
    ----------
    names : list
        Class name a row; for multi-label a list of names a row; empty for regression.
    proba : ndarray of shape (n, n_classes) or None
        In the order of the model's classes.
    values : ndarray of shape (n,), float64, or None
        Regression only.
    novelty : ndarray of shape (n,) or None
        Of a model that abstains: above one half, the name is "unknown".
    """

    names: list[Any]
    proba: Array | None = None
    values: Array | None = None
    novelty: Array | None = None


def outputs_of(model: Model, X: Array) -> Outputs:
    """Predictions and, where there are classes, probabilities of feature rows."""
    predicted = model.predict(X)
    if model.task == "regression":
        return Outputs([], values=np.asarray(predicted, dtype=np.float64).reshape(-1))
    proba = np.asarray(model.predict_proba(X), dtype=np.float64)
    if model.task == "multilabel":
        names = [
            [name for name, on in zip(model.classes, row, strict=True) if on]
            for row in np.asarray(predicted, dtype=bool)
        ]
        return Outputs(names, proba)
    strange = novelty_of(model, X)
    return Outputs([str(name) for name in predicted], proba, novelty=strange)
