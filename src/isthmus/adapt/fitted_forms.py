"""Layer 4: fitted ensembles, trees and neighbours as values: what `served` returns for saving.

Each is a frozen dataclass of arrays that gives scores of the classes (softmax gives the method's
probabilities) or values of new target rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax

from isthmus.adapt.boosting import weighted_median
from isthmus.adapt.linear_source import LinearSource
from isthmus.adapt.maps import Affine
from isthmus.adapt.neighbor_graph import nearest, nearest_in_lists, reach
from isthmus.adapt.transfer_trees import Tree
from isthmus.errors import UsageError
from isthmus.types import Array

NEVER = -1e30  # score of a class that a learner does not know; finite, so that it can be saved
LEAST = 1e-300  # smallest share whose logarithm is taken
WEAKEST = 1e-12  # smallest source probability whose logarithm is taken, as in `black_box.logs`


def class_scores(model: Any, classes: Any) -> tuple[Array, Array]:
    """(K, d) weights and (K,) intercepts of a fitted linear model, one row for each class.

    Parameters
    ----------
    model : linear estimator
    classes : ndarray of shape (K,), or None
        Sorted; those that the model does not know score `NEVER`. None: a regressor, one row.
    """
    linear = LinearSource.of(model)
    if classes is None:
        return linear.coef, linear.intercept
    coef, intercept = linear.coef, linear.intercept
    assert linear.classes is not None
    if len(linear.classes) == 2:  # one row tells both apart: the first class scores 0
        coef = np.concatenate([np.zeros_like(coef), coef])
        intercept = np.append(0.0, intercept)
    out, level = np.zeros((len(classes), coef.shape[1])), np.full(len(classes), NEVER)
    at = np.searchsorted(classes, linear.classes)
    out[at], level[at] = coef, intercept
    return out, level


def affine(coef: Array, intercept: Array, *, values: bool = False) -> Affine:
    """Rows -> ``coef row + intercept``; of a regressor one number a row."""
    if values:
        return Affine(np.zeros(1), coef[0].copy(), intercept[:1].copy())
    return Affine(np.zeros(1), np.ascontiguousarray(coef.T), intercept.copy())


@dataclass(frozen=True)
class Votes:
    """Weighted votes of linear classifiers (TrAdaBoost).

    Parameters
    ----------
    coef, intercept : ndarray of shape (T, K, d), (T, K)
    weights : ndarray of shape (T,)
        Positive.
    """

    coef: Array
    intercept: Array
    weights: Array

    def __call__(self, rows: Any) -> Array:
        k = self.intercept.shape[1]
        shares = np.zeros((len(rows), k))
        for coef, level, weight in zip(self.coef, self.intercept, self.weights, strict=True):
            shares[np.arange(len(rows)), (rows @ coef.T + level).argmax(axis=1)] += weight
        shares /= self.weights.sum()
        return np.asarray((k * shares - 1) / (k - 1) ** 2)

    @classmethod
    def of(cls, models: Sequence[Any], weights: Array, classes: int) -> Votes:
        """From fitted learners whose classes are codes; those without a vote are left out."""
        kept = np.flatnonzero(weights).tolist()
        parts = [class_scores(models[i], np.arange(classes)) for i in kept]
        coef, level = (np.stack(part) for part in zip(*parts, strict=True))
        return cls(coef, level, np.asarray(weights, dtype=np.float64)[kept])


@dataclass(frozen=True)
class MedianOf:
    """Weighted median of linear regressors (TrAdaBoost.R2).

    Parameters
    ----------
    coef, intercept : ndarray of shape (T, d), (T,)
    weights : ndarray of shape (T,)
    """

    coef: Array
    intercept: Array
    weights: Array

    def __call__(self, rows: Any) -> Array:
        return weighted_median(rows @ self.coef.T + self.intercept, self.weights)

    @classmethod
    def of(cls, models: Sequence[Any], weights: Array) -> MedianOf:
        """From fitted learners."""
        kept = np.flatnonzero(weights).tolist()
        parts = [class_scores(models[i], None) for i in kept]
        coef, level = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(coef, level, np.asarray(weights, dtype=np.float64)[kept])


@dataclass(frozen=True)
class Forest:
    """Mean class shares over trees, as logarithms.

    Parameters
    ----------
    trees : tuple of Tree
        Refused where a child does not come after its parent: such a tree could have no end.
    features : int
        Columns of the rows.
    """

    trees: tuple[Tree, ...]
    features: int

    def __post_init__(self) -> None:
        for tree in self.trees:
            nodes = np.arange(len(tree.left))
            shaped = all(
                getattr(tree, name).shape == nodes.shape
                for name in ("left", "right", "feature", "threshold")
            )
            if not shaped or not len(nodes) or len(tree.shares) != len(nodes):
                raise UsageError("the arrays of a tree have different lengths")
            inner = tree.left >= 0
            children = np.stack([tree.left, tree.right])[:, inner]
            inside = (children > nodes[inner]).all() and (children < len(nodes)).all()
            columns = tree.feature[inner]
            if not inside or (columns < 0).any() or (columns >= self.features).any():
                raise UsageError("a tree has a child before its parent, or an unknown feature")

    def __call__(self, rows: Any) -> Array:
        single = np.asarray(rows, dtype=np.float32)  # in which scikit-learn's trees compare
        total = sum(tree.predict_proba(single) for tree in self.trees)
        return np.log(np.maximum(np.asarray(total) / len(self.trees), LEAST))


@dataclass(frozen=True)
class NeighborShares:
    """Class shares of the nearest rows, weighted by distance, as logarithms.

    Parameters
    ----------
    points : ndarray of shape (m, d)
    shares : ndarray of shape (m, K)
    n_neighbors, n_probe, seed : int
    lists : bool
        Search in inverted lists instead of exactly.
    """

    points: Array
    shares: Array
    n_neighbors: int
    lists: bool = False
    n_probe: int = 1
    seed: int = 0

    def __call__(self, rows: Any) -> Array:
        return np.log(np.maximum(self.proba(rows), LEAST))

    def proba(self, rows: Any) -> Array:
        """(n, K) shares that sum to 1; a row of the fit is itself."""
        rows = np.asarray(rows).astype(self.points.dtype, copy=False)
        if self.lists:
            found = nearest_in_lists(
                rows, self.points, self.n_neighbors, n_probe=self.n_probe, seed=self.seed
            )
        else:
            found = nearest(rows, self.points, self.n_neighbors)
        scale = reach(found, 1e-12)[:, None] ** 2
        near = np.where(np.isfinite(found.squared), found.squared, np.inf)
        weight = np.exp(-near / scale)
        # lists are searched in single precision
        own = near <= 1e-5 * scale
        weight = np.where(own.any(axis=1, keepdims=True), own * 1.0, weight)
        out = np.einsum("nk,nkc->nc", weight, self.shares[found.index])
        return np.asarray(out / out.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Translated:
    """Source classes by a linear model, then p(target class | source class), as logarithms.

    Parameters
    ----------
    coef, intercept : ndarray of shape (K_s, d), (K_s,)
    temperature : float
    translation : ndarray of shape (K_s, K_t)
    """

    coef: Array
    intercept: Array
    temperature: float
    translation: Array

    def __call__(self, rows: Any) -> Array:
        said = log_softmax(rows @ self.coef.T + self.intercept, axis=1)
        tempered = np.maximum(said, np.log(WEAKEST)) / self.temperature
        source = np.exp(log_softmax(tempered, axis=1))
        return np.log(np.maximum(source @ self.translation, LEAST))
