"""Layer 6: near target rows should have one class: agreement along the neighbour graph."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import of_target
from isthmus.types import Array

LEAST = 1e-12  # variance of the predictions below which they are all alike


class Neighbors(Validator):
    """Agreement of predictions with those of the nearest target rows, beyond chance.

    ``(A - C) / (B - C)`` with ``A = mean_ij p_i . p_j`` over rows i and their neighbours j,
    ``C = |mean_i p_i|^2`` what random neighbours would give and ``B = mean_i |p_i|^2`` what rows
    agree with themselves: Moran's I of the predictions (*Notes on continuous stochastic
    phenomena*, Biometrika 1950), and for classes Scott's pi (1955). Without the correction, all
    rows in one class would be perfect. That neighbours in feature space share a class is the
    ground of Yang, Wang, van de Weijer, Herranz and Jui, *Exploiting the intrinsic neighborhood
    structure for source-free domain adaptation*, NeurIPS 2021.

    Parameters
    ----------
    soft : bool, default=False
        Probabilities in the place of predicted classes.

    Notes
    -----
    Refused where all rows are predicted alike: there is nothing to agree upon.
    """

    name: ClassVar[str] = "neighbors"

    def __init__(self, *, soft: bool = False) -> None:
        self.soft = soft

    def score(self, scene: Scene, trial: Trial) -> float:
        P = of_target(scene, trial)
        near = _graph(scene.neighbors, len(P))
        if not self.soft:
            P = np.eye(scene.n_classes)[P.argmax(axis=1)]
        chance = float((P.mean(axis=0) ** 2).sum())
        own = float((P**2).sum(axis=1).mean())
        if own - chance <= LEAST:
            raise DataError("all target rows are predicted alike", where=trial.name)
        found = sum(float((P * P[column]).sum()) for column in near.T) / near.size
        return (found - chance) / (own - chance)


def _graph(near: Array, n: int) -> Array:
    near = np.asarray(near)
    if near.ndim != 2 or len(near) != n or near.shape[1] == 0:
        raise DataError(f"a neighbour graph of shape {near.shape} for {n} target rows")
    if near.min() < 0 or near.max() >= n:
        raise DataError("the neighbour graph names rows that do not exist")
    return near
