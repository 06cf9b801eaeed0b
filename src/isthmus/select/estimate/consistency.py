"""Accuracy from how often neighbours get the same prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.errors import DataError
from isthmus.select.estimate.base import Estimate, Estimator, held_out
from isthmus.select.validate.base import Scene, Trial
from isthmus.types import Array

ROWS = 300  # source rows whose neighbours are looked up


class NeighborConsistency(Estimator):
    """Held-out source accuracy times the change of consistency from source to target.

    Consistency: share of a row's nearest rows of its own domain with the same prediction. Right
    when a boundary that cuts through dense regions costs as many errors in both domains; a
    prediction that is smooth and wrong fools it.
    """

    name = "consistency"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        from sklearn.neighbors import NearestNeighbors

        P, y, rows = held_out(scene, trial)
        near_t = np.asarray(scene.neighbors)
        m = min(near_t.shape[1], len(rows) - 1)
        if m < 1:
            raise DataError("no neighbours of target rows")
        X = np.asarray(scene.Xs, dtype=np.float32)[rows]
        some = np.random.default_rng(scene.random_state).permutation(len(rows))[:ROWS]
        look = NearestNeighbors(n_neighbors=m + 1).fit(X)
        found = look.kneighbors(X[some], return_distance=False)
        near_s = np.stack([np.r_[f[f != i], f[:1]][:m] for f, i in zip(found, some, strict=True)])
        here = _same(P.argmax(axis=1), some, near_s)
        said = np.asarray(trial.target_proba).argmax(axis=1)
        there = _same(said, np.arange(len(said)), near_t[:, :m])
        right = float((P.argmax(axis=1) == y).mean())
        return Estimate(right * there / max(here, 1e-9), info={"source": here, "target": there})


def _same(said: Array, rows: Array, near: Array) -> float:
    return float((said[near] == said[rows][:, None]).mean())
