"""Layer 8: a head that is fitted in a blink, for checks that need predictions. Not a check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from isthmus.types import Array

MAX_ROWS = 1500
CLIP = 1.5  # deviations
STRENGTH = 0.05  # ridge, in units of the mean diagonal of the kernel


def scaled(train: Array, *others: Array, columns: bool) -> tuple[Array, ...]:
    """Rows of unit length (networks) or standardised columns, centred on the training rows."""
    made = [np.nan_to_num(np.asarray(m, dtype=np.float64)) for m in (train, *others)]
    if not columns:
        made = [m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in made]
    mean = made[0].mean(axis=0)
    if not columns:
        return tuple(m - mean for m in made)
    spread = made[0].std(axis=0)
    # a column that is constant in training says nothing, and one wild cell must not decide
    scale = np.where(spread > 1e-8 * np.abs(mean) + 1e-12, 1 / np.maximum(spread, 1e-12), 0.0)
    return tuple(np.clip((m - mean) * scale, -CLIP, CLIP) for m in made)


def thinned(y: Array, seed: int, most: int = MAX_ROWS) -> Array:
    """At most `most` positions, drawn with a seed, in order."""
    if len(y) <= most:
        return np.arange(len(y))
    return np.sort(np.random.default_rng(seed).choice(len(y), most, replace=False))


@dataclass(frozen=True)
class Quick:
    """A fitted kernel ridge classifier.

    Parameters
    ----------
    classes : ndarray of shape (k,)
    """

    classes: Array
    support: Array
    dual: Array
    share: Array

    def scores(self, X: Array) -> Array:
        """(n, k): about the probability of each class, not clipped."""
        return np.asarray(X @ self.support.T @ self.dual + self.share)


def fit(X: Array, y: Array) -> Quick:
    """Fit on rows that `scaled` prepared."""
    classes, codes = np.unique(y, return_inverse=True)
    hot = np.eye(len(classes))[codes]
    share = hot.mean(axis=0)
    kernel = X @ X.T
    ridge = STRENGTH * max(float(np.trace(kernel)) / len(X), 1e-12)
    dual = np.linalg.solve(kernel + ridge * np.eye(len(X)), hot - share)
    return Quick(classes, X, dual, share)


def predict(X: Array, y: Array, Z: Array, *, columns: bool, seed: int = 0) -> Array:
    """Names of the classes of `Z`, learned from `X` and `y`."""
    rows = thinned(y, seed)
    train, new = scaled(X[rows], Z, columns=columns)
    model = fit(train, y[rows])
    return np.asarray(model.classes[model.scores(new).argmax(axis=1)])


def out_of_fold(
    X: Array, y: Array, *, columns: bool, groups: Array | None = None, seed: int = 0
) -> tuple[Array, Array]:
    """(n, k) scores of rows that the model did not see, and the classes; 5 folds.

    Rows of a class with a single row are never predicted as it, as they should not be.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

    classes = np.unique(y)
    scores = np.zeros((len(y), len(classes)))
    least = min(Counter(y.tolist()).values())
    if groups is not None and len(set(groups)) >= 5:
        parts = GroupKFold(5).split(X, y, groups)
    elif least >= 2:
        parts = StratifiedKFold(min(5, least), shuffle=True, random_state=seed).split(X, y)
    else:
        parts = KFold(5, shuffle=True, random_state=seed).split(X)
    for train, test in parts:
        inside, outside = scaled(X[train], X[test], columns=columns)
        model = fit(inside, y[train])
        where = np.searchsorted(classes, model.classes)
        scores[np.ix_(test, where)] = model.scores(outside)
    return scores, classes


def probabilities(scores: Array, y: Array, classes: Array) -> Array:
    """Softmax of out-of-fold scores at the temperature that suits them best."""
    from scipy.optimize import minimize_scalar

    codes = np.searchsorted(classes, y)

    def soft(sharpness: float) -> Array:
        z = sharpness * (scores - scores.max(axis=1, keepdims=True))
        p = np.exp(z)
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    def loss(log_sharpness: float) -> float:
        p = soft(float(np.exp(log_sharpness)))[np.arange(len(y)), codes]
        return float(-np.log(np.maximum(p, 1e-12)).mean())

    found = minimize_scalar(loss, bounds=(-1.0, 5.0), method="bounded")
    return soft(float(np.exp(found.x)))
