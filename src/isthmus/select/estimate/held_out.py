"""The accuracy on held-out source rows, as if nothing had shifted: the reference of the others."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.select.estimate.base import Estimate, Estimator, held_out
from isthmus.select.validate.base import Scene, Trial


class HeldOut(Estimator):
    """Share of source rows that are right out of fold.

    Right when target rows are drawn as source rows are; too high under most shifts.
    """

    name = "held-out"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, _ = held_out(scene, trial)
        return Estimate(float((P.argmax(axis=1) == y).mean()), info={"rows": len(y)})
