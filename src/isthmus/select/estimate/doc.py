"""Difference of confidences (Guillory et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.select.estimate.base import Estimate, Estimator, held_out
from isthmus.select.estimate.confidence import tempered
from isthmus.select.validate.base import Scene, Trial


class DifferenceOfConfidences(Estimator):
    """Held-out source accuracy plus what the mean confidence changes from source to target.

    Right when accuracy falls as confidence does (equation 5 with slope 1). D. Guillory,
    V. Shankar, S. Ebrahimi, T. Darrell, L. Schmidt, *Predicting with confidence on unseen
    distributions*, ICCV 2021.
    """

    name = "doc"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, _ = held_out(scene, trial)
        right = float((P.argmax(axis=1) == y).mean())
        P, Q = tempered(P, y, trial.target_proba)
        change = float(Q.max(axis=1).mean() - P.max(axis=1).mean())
        return Estimate(right + change, info={"change": change})
