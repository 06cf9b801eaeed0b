"""Layer 6: classes that only one side has, looked for before the choice with heads of three kinds.

A linear head is sure of itself far away from every row; a neighbour vote is not, and discriminant
analysis follows the covariance. Where all three doubt, there is something to doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.fit.folds import folds
from isthmus.fit.logistic import LogisticHead
from isthmus.select.bench import Bench, some
from isthmus.select.descriptors import NEIGHBORS, neighbors
from isthmus.select.mismatch import Mismatch, mismatch
from isthmus.select.validate.base import Scene
from isthmus.types import Array

MOST = 2000  # rows of a side
SPLITS = 3


def class_gap(bench: Bench, *, random_state: int = 0) -> Mismatch:
    """What `isthmus.select.mismatch` says of this pair; no label of a target row is read.

    On 30 real pairs with equal classes (1 of 2 of the reported tasks, 600 rows a side) it called 4
    present classes absent (3 of them in 6 pairs of visual words) and saw novel rows in 1; with 3
    to 5 classes taken from the target it named 33 % of them on visual words, 47 % on digits, all on
    objects and 93 % on spoken digits; taken from the source, it saw novel rows in 1 of 6, 1 of 2, 0
    of 1 and 6 of 6 pairs.

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
    held = np.full((len(y), K), np.nan)
    for train, test in folds(y, task="classification", n_splits=SPLITS, random_state=random_state):
        held[test] = _consensus(bench.C, X[train], y[train], X[test], K)
    scene = Scene(
        Xs=X,
        ys=y,
        Xt=Xt,
        n_classes=K,
        weights=np.ones(len(y)),
        neighbors=neighbors(Xt, NEIGHBORS),
        consensus=_consensus(bench.C, X, y, Xt, K),
        random_state=random_state,
    )
    return mismatch(scene, held)


def told(found: Mismatch, classes: tuple[str, ...]) -> dict[str, Any]:
    """JSON form: classes that seem absent, share of rows that seem novel, and the sentences."""
    return {
        "absent": [classes[c] for c in found.absent],
        "presence": {
            name: round(float(p), 3) for name, p in zip(classes, found.presence, strict=True)
        },
        "novel": found.novel_share.as_dict() if found.abstain.any() else None,
        "false_alarm": round(found.false_alarm, 4),
        "notes": list(found.notes),
    }


def _heads(C: float) -> Iterator[Any]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.neighbors import KNeighborsClassifier

    yield LogisticHead(C=C)
    yield LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
    yield KNeighborsClassifier(NEIGHBORS, weights="distance")


def _consensus(C: float, X: Array, y: Array, Z: Array, K: int) -> Array:
    """(len(Z), K) mean probabilities."""
    total, count = np.zeros((len(Z), K)), 0
    enough = np.bincount(y, minlength=K)[y] >= 2  # one row has no covariance
    X, y = X[enough], y[enough]
    for head in _heads(C):
        if hasattr(head, "n_neighbors"):
            head.set_params(n_neighbors=min(head.n_neighbors, len(X)))
        head.fit(X, y)
        total[:, head.classes_] += head.predict_proba(Z)
        count += 1
    return total / count
