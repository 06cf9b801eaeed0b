"""Mean confidence on the target after calibration on the source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.fit.base import softmax
from isthmus.fit.calibrate import Temperature
from isthmus.select.estimate.base import TINY, Estimate, Estimator, held_out
from isthmus.select.validate.base import Scene, Trial
from isthmus.types import Array


def tempered(P: Array, y: Array, Q: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Probabilities of both domains after one temperature, fitted on the source rows.

    Parameters
    ----------
    P, y : ndarray of shape (m, K), (m,)
        Held-out source rows.
    Q : ndarray of shape (n_t, K)
    weights : ndarray of shape (m,), optional
        Of the source rows, mean 1.

    Returns
    -------
    P, Q : ndarray of shape (m, K), (n_t, K)
    """
    z_s, z_t = (np.log(np.maximum(np.asarray(p, dtype=np.float64), TINY)) for p in (P, Q))
    fitted = Temperature().fit(z_s, y, sample_weight=weights)
    return softmax(fitted.apply(z_s)), softmax(fitted.apply(z_t))


class Confidence(Estimator):
    """Mean largest probability of target rows, tempered on held-out source rows.

    Right where the probabilities are calibrated on the target too; under most shifts a model is
    surer than it is right.
    """

    name = "confidence"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, _ = held_out(scene, trial)
        _, Q = tempered(P, y, trial.target_proba)
        return Estimate(float(Q.max(axis=1).mean()))


class WeightedConfidence(Estimator):
    """`Confidence` with the temperature fitted on source rows weighted to look like target rows.

    S. Park, O. Bastani, J. Weimer, I. Lee, *Calibrated prediction with covariate shift via
    unsupervised domain adaptation*, AISTATS 2020.
    """

    name = "confidence-weighted"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, rows = held_out(scene, trial)
        weights = np.asarray(scene.weights, dtype=np.float64)[rows]
        size = weights.sum() ** 2 / max(float((weights**2).sum()), TINY)
        # as many rows as the weights are worth: what the smoothing of the targets goes by
        _, Q = tempered(P, y, trial.target_proba, weights * (size / max(weights.sum(), TINY)))
        return Estimate(float(Q.max(axis=1).mean()), info={"effective_rows": float(size)})
