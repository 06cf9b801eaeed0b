"""Layer 6: three heads of different kinds on both domains, and on source rows they did not see.

A linear head is sure of itself far away from every row; a neighbour vote is not, and discriminant
analysis follows the covariance. Where all three doubt, there is something to doubt; where they
agree on the target as often as on held-out source rows, their accuracy has hardly changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.fit.folds import folds
from isthmus.fit.logistic import LogisticHead
from isthmus.select.bench import Bench, some
from isthmus.select.descriptors import NEIGHBORS, neighbors
from isthmus.select.validate.base import Scene, Trial
from isthmus.types import Array

MOST = 2000  # rows of a side
SPLITS = 3
KINDS = ("logistic", "discriminant", "neighbours")


@dataclass(frozen=True)
class Views:
    """What the heads say.

    Parameters
    ----------
    scene : Scene
        Rows of both sides; its consensus is the mean of the heads.
    held : ndarray of shape (3, n_s, K)
        Probabilities of source rows, out of fold; NaN where no fold holds a row out.
    rows : ndarray of shape (n_t,), int
        Target rows of the scene, as positions in the bench's.
    trials : tuple of Trial
        The heads one by one.
    """

    scene: Scene
    held: Array
    rows: Array
    trials: tuple[Trial, ...]


def views(bench: Bench, *, random_state: int = 0) -> Views:
    """Fit the heads on the source, whole and in folds; no label of a target row is read.

    Raises
    ------
    DataError
        If there are too few rows to hold any out.
    """
    rng = np.random.default_rng(random_state)
    space = bench.space
    own, there = (some(len(side), MOST, rng) for side in (space.Xs, space.Xt))
    X, y, Xt = space.Xs[own], bench.codes[own], space.Xt[there]
    if len(np.unique(y)) < 2 or np.bincount(y)[np.unique(y)].min() < 2:
        raise DataError("too few source rows of some class to hold one out", where="classes")
    K = len(bench.classes)
    held = np.full((len(KINDS), len(y), K), np.nan)
    for train, test in folds(y, task="classification", n_splits=SPLITS, random_state=random_state):
        held[:, test] = _said(bench.C, X[train], y[train], X[test], K)
    said = _said(bench.C, X, y, Xt, K)
    scene = Scene(
        Xs=X,
        ys=y,
        Xt=Xt,
        n_classes=K,
        weights=np.ones(len(y)),
        neighbors=neighbors(Xt, NEIGHBORS),
        consensus=said.mean(axis=0),
        random_state=random_state,
    )
    trials = tuple(Trial(name, said[i], held[i]) for i, name in enumerate(KINDS))
    return Views(scene, held, there, trials)


def _heads(C: float) -> Iterator[Any]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.neighbors import KNeighborsClassifier

    yield LogisticHead(C=C)
    yield LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
    yield KNeighborsClassifier(NEIGHBORS, weights="distance")


def _said(C: float, X: Array, y: Array, Z: Array, K: int) -> Array:
    """(3, len(Z), K) probabilities."""
    out = np.zeros((len(KINDS), len(Z), K))
    enough = np.bincount(y, minlength=K)[y] >= 2  # one row has no covariance
    X, y = X[enough], y[enough]
    for i, head in enumerate(_heads(C)):
        if hasattr(head, "n_neighbors"):
            head.set_params(n_neighbors=min(head.n_neighbors, len(X)))
        head.fit(X, y)
        out[i][:, head.classes_] = head.predict_proba(Z)
    return out
