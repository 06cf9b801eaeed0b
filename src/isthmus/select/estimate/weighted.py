"""Importance-weighted accuracy on held-out source rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.errors import DataError
from isthmus.select.estimate.base import Estimate, Estimator, held_out
from isthmus.select.validate.base import Scene, Trial

FEWEST = 10.0  # effective rows below which the estimate is refused


class Weighted(Estimator):
    """``sum w 1[right] / sum w`` over held-out source rows, w = density ratio.

    Right under covariate shift with overlap: p(y | x) the same in both domains and every target
    row like some source row. The self-normalised form has a bias of the order of one over the
    effective rows ``(sum w)^2 / sum w^2``, which are given, and below 10 of which it is refused.
    M. Sugiyama, M. Krauledat, K.-R. Müller, *Covariate shift adaptation by importance weighted
    cross validation*, JMLR 2007.
    """

    name = "weighted"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, rows = held_out(scene, trial)
        w = np.asarray(scene.weights, dtype=np.float64)[rows]
        if not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
            raise DataError("the weights are not finite, negative or all zero", where="weights")
        size = float(w.sum() ** 2 / (w**2).sum())
        if size < FEWEST:
            raise DataError(
                f"the weights leave {size:.1f} effective source rows",
                why=f"fewer than {FEWEST:g}: the target is unlike nearly all of the source",
            )
        right = P.argmax(axis=1) == y
        value = float(w @ right / w.sum())
        error = float(np.sqrt((w**2) @ (right - value) ** 2) / w.sum())
        return Estimate(value, info={"effective_rows": size, "standard_error": error})
