"""Layer 6: circular validation in which the source comes back with the target's class shares."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.adapt.mlls import MLLS
from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.circles import matched, pseudo_labels, way_back
from isthmus.select.validate.probabilities import checked
from isthmus.select.validate.scenes import drawn, once
from isthmus.types import Array


class CircularPrior(Validator):
    """As `Circular`, the source rows drawn to the class shares that the target is thought to have.

    Where class shares differ, centring and alignment push the target to the wrong place, and the
    way back, between the same two sets of shares, pushes by as much in the other direction:
    `Circular` sees nothing. With the target's shares q on both sides of the way back there is
    nothing left to push, so the error made on the way there stays to be seen:
    ``sum_k q_k mean_{i: y_i = k} [h'(x_i) = k]``, h' fitted from the target to those rows. The
    shares are estimated once, for all candidates: if a candidate's own predictions gave them, it
    could win by predicting one class.

    Parameters
    ----------
    prior : {"consensus", "mlls", "both"}, default="consensus"
        "consensus": mean probabilities of all candidates; tame, but pulled towards what most of
        them say. "mlls": maximum likelihood on calibrated held-out probabilities
        (`isthmus.adapt.mlls`); right where classes look alike in both domains, far off (one class)
        where features moved. "both": the mean of the two.

    References
    ----------
    Zhong et al. 2010 and Bruzzone and Marconcini 2010 for the circle; Saerens, Latinne and
    Decaestecker 2002 for the shares.
    """

    name: ClassVar[str] = "circular-prior"
    needs: ClassVar[tuple[str, ...]] = ("refit",)
    cost: ClassVar[str] = "refit"

    def __init__(self, *, prior: str = "consensus") -> None:
        self.prior = prior

    def score(self, scene: Scene, trial: Trial) -> float:
        if self.prior not in (*ESTIMATES, "both"):
            raise UsageError(f"prior={self.prior!r}", why="known: consensus, mlls, both")
        codes = pseudo_labels(scene, trial)
        rows = once(scene, f"source with target shares by {self.prior}", self._rows)
        return way_back(scene, trial, codes, rows)

    def _rows(self, scene: Scene) -> Array:
        """(n_s,) source rows with the shares of the target."""
        ys = np.asarray(scene.ys)
        found = [
            estimate(scene) for name, estimate in ESTIMATES.items() if self.prior in (name, "both")
        ]
        prior = np.mean(found, axis=0)
        rows = matched(ys, prior, drawn(scene.Xs, scene.random_state))
        if len(np.unique(ys[rows])) < 2:
            raise DataError("the target seems to hold one class only", where=self.name)
        return rows


def _likely(scene: Scene) -> Array:
    """(K,) shares by maximum likelihood."""
    prior = np.zeros(scene.n_classes)
    model = MLLS(n_boot=0, random_state=scene.random_state)
    found = model.adapt(scene.Xs, np.asarray(scene.ys), scene.Xt).info["target_prior"]
    for name, share in found.items():
        prior[int(name)] = share["value"]
    return prior


def _told(scene: Scene) -> Array:
    """(K,) shares by the mean of all candidates."""
    K = scene.n_classes
    told: Array = checked(scene.consensus, len(scene.Xt), K, "consensus").mean(axis=0)
    return told


ESTIMATES = {"mlls": _likely, "consensus": _told}
