"""Layer 8: which epoch of a training is kept, without a label of the target.

The neighbours are those of the features before training: a graph that moved with the network
would agree with whatever the network says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.errors import DataError
from isthmus.run.extract import Extracted
from isthmus.select.descriptors import NEIGHBORS, neighbors
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.neighbors import Neighbors
from isthmus.types import Array

MOST = 4000  # target rows whose neighbours are looked up


@dataclass(frozen=True)
class NeighborEvidence:
    """Do near target rows get one class? See `isthmus.select.validate.neighbors.Neighbors`.

    Parameters
    ----------
    rows : ndarray of shape (m,), int
        Positions among the target rows.
    near : ndarray of shape (m, k), int
        The nearest of them, by features of the untrained backbone.
    """

    rows: Array
    near: Array

    def __call__(self, proba: Array) -> float | None:
        """The agreement beyond chance, at most 1; None where all rows are predicted alike."""
        P = np.asarray(proba)[self.rows]
        no, blank = np.empty(0, dtype=int), np.empty((len(P), 1))
        scene = Scene(blank[:0], no, blank, P.shape[1], no, self.near, P)
        try:
            return Neighbors().score(scene, Trial("epoch", P))
        except DataError:
            return None


def neighbor_evidence(features: Extracted, *, seed: int) -> NeighborEvidence:
    """Of the target rows as they are trained on: labelled ones first, where there is a source."""
    known = features.labelled if features.source is not None else None
    parts = [] if known is None else [np.asarray(known.X)]
    X = np.concatenate([*parts, np.asarray(features.target.X)]).astype(np.float64)
    rows = np.arange(len(X))
    if len(X) > MOST:
        rows = np.sort(np.random.default_rng(seed).choice(len(X), MOST, replace=False))
    return NeighborEvidence(rows, neighbors(X[rows], NEIGHBORS))
