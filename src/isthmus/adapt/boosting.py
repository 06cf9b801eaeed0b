"""Layer 4: parts of transfer boosting: weights, errors of regression, the weighted median."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.few_labels import fitted
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble


def source_factor(n_source: int, n_estimators: int) -> float:
    """``1 / (1 + sqrt(2 ln n / N))``: what a source row's error costs it (Dai et al. 2007).

    >>> round(source_factor(100, 10), 4)
    0.5103
    """
    return float(1 / (1 + np.sqrt(2 * np.log(n_source) / n_estimators)))


def starting_weights(n_source: int, n_target: int, share: float | None, who: str) -> Array:
    """Weights that sum to 1, source rows first; target rows together have `share`.

    >>> starting_weights(2, 1, 0.5, "")
    array([0.25, 0.25, 0.5 ])
    """
    if share is None:
        share = n_target / (n_source + n_target)
    if not 0 < share <= 1:
        raise UsageError(f"target_share={share}", where=who, why="0 < target_share <= 1 is needed")
    return np.repeat([(1 - share) / n_source, share / n_target], [n_source, n_target])


def fit_weighted(
    estimator: Any, X: Any, y: Array, weights: Array, seed: int, *, before: Any = None
) -> tuple[Any, tuple[Trouble, ...]]:
    """A fitted clone; weights are scaled to mean 1, so that penalties keep their meaning.

    Rows of weight 0 are left out: scikit-learn would still see their classes.
    """
    used = weights > 0
    if not used.all():
        X, y, weights = X[used], y[used], weights[used]
    return fitted(estimator, X, y, weights / weights.mean(), seed, before=before)


def effective_size(weights: Array) -> float:
    """Kish's ``(sum w)^2 / sum w^2``."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def relative_errors(predicted: Array, values: Array) -> Array:
    """``|y - h(x)| / D`` with D the largest of them: the linear loss of AdaBoost.R2.

    >>> relative_errors(np.array([1.0, 2.0, 5.0]), np.array([1.0, 1.0, 1.0]))
    array([0.  , 0.25, 1.  ])
    """
    errors = np.abs(predicted - values)
    worst = errors.max()
    # an exact fit leaves rounding errors, whose ratios say nothing
    noise = 64 * np.finfo(np.float64).eps * max(1.0, np.abs(values).max())
    return np.asarray(errors / worst if worst > noise else np.zeros_like(errors))


def weighted_median(predictions: Array, weights: Array) -> Array:
    """Row-wise weighted median: the smallest value with at least half of the weight up to it.

    Parameters
    ----------
    predictions : ndarray of shape (n, k)
    weights : ndarray of shape (k,)

    >>> weighted_median(np.array([[3.0, 1.0, 2.0]]), np.array([1.0, 1.0, 3.0]))
    array([2.])
    """
    order = np.argsort(predictions, axis=1, kind="stable")
    reached = np.cumsum(weights[order], axis=1)
    # half of the total up to rounding: three equal weights reach 1.5 of 3 at the second
    at = (reached >= 0.5 * reached[:, -1:] * (1 - 1e-12)).argmax(axis=1)
    rows = np.arange(len(predictions))
    return np.asarray(predictions[rows, order[rows, at]])


def vote_scores(shares: Array) -> Array:
    """Shares of the votes -> scores as scikit-learn's AdaBoost has them, before the softmax."""
    k = shares.shape[1]
    return np.asarray((k * shares - 1) / (k - 1) ** 2)


def boost_r2(
    estimator: Any,
    X: Any,
    y: Array,
    weights: Array,
    n_source: int,
    *,
    n_estimators: int,
    seed: int,
) -> tuple[list[Any], Array, tuple[Trouble, ...]]:
    """AdaBoost.R2' (Pardoe and Stone 2010): AdaBoost.R2 that leaves the source weights alone.

    The target rows keep their total weight, for that is what tells one stage from another;
    among them the badly predicted ones gain. Drucker's bootstrap is replaced by weights.

    Returns
    -------
    models : list
    votes : ndarray of shape (len(models),)
        ``ln(1 / beta)``.
    """
    weights = weights / weights.sum()
    share = weights[n_source:].sum()
    models: list[Any] = []
    votes: list[float] = []
    troubles: tuple[Trouble, ...] = ()
    for number in range(n_estimators):
        model, found = fit_weighted(estimator, X, y, weights, seed + number)
        troubles += found
        used = weights > 0
        loss = np.zeros(len(y))
        loss[used] = relative_errors(model.predict(X[used] if not used.all() else X), y[used])
        error = float(weights @ loss)
        if error >= 0.5 and models:
            break
        models.append(model)
        votes.append(vote(error))
        if error == 0 or error >= 0.5:
            break
        target = weights[n_source:] * (error / (1 - error)) ** (1 - loss[n_source:])
        weights[n_source:] = target * (share / target.sum())
    return models, np.array(votes), troubles


def vote(error: float, floor: float = 1e-3) -> float:
    """``ln(1 / beta)``, ``beta = error / (1 - error)``, kept positive and finite."""
    error = min(max(error, floor), 0.5 - floor)
    return float(np.log((1 - error) / error))
