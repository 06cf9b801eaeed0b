"""Confidence optimal transport (Lu et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from isthmus.select.estimate.base import Estimate, Estimator, held_out
from isthmus.select.estimate.confidence import tempered
from isthmus.select.validate.base import Scene, Trial
from isthmus.types import Array

SMOOTH = 0.01  # of the maximum in the dual; the value itself is not smoothed


def transported(P: Array, shares: Array) -> float:
    """Largest mean probability of labels whose shares are given.

    ``max sum_ik T_ik P_ik`` over plans T with rows 1/n and columns `shares`: by its dual
    ``min_v mean_i max_k (P_ik - v_k) + shares . v``, K numbers.

    Parameters
    ----------
    P : ndarray of shape (n, K)
    shares : ndarray of shape (K,)
        Sum 1.

    Returns
    -------
    float
        At most mean max_k P_ik, and at least sum_k shares_k mean_i P_ik.
    """

    def dual(v: Array) -> tuple[float, Array]:
        z = (P - v) / SMOOTH
        top = z.max(axis=1, keepdims=True)
        e = np.exp(z - top)
        total = e.sum(axis=1, keepdims=True)
        value = SMOOTH * float((top + np.log(total)).mean()) + float(shares @ v)
        return value, shares - (e / total).mean(axis=0)

    v = minimize(dual, np.zeros(P.shape[1]), jac=True, method="L-BFGS-B").x
    return float((P - v).max(axis=1).mean() + shares @ v)


class ConfidenceTransport(Estimator):
    """Mean tempered probability of the labels when classes keep the source's shares.

    ``1 - W(target probabilities, source labels)`` with half the L1 distance for cost. Where the
    predictions pile up in some classes, this is below the mean confidence by what it takes to
    spread them again; under other class shares that is too low. Y. Lu, Z. Wang, R. Zhai,
    S. Kolouri, J. Campbell, K. Sycara, *Predicting out-of-distribution error with confidence
    optimal transport*, 2023.
    """

    name = "transport"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, _ = held_out(scene, trial)
        _, Q = tempered(P, y, trial.target_proba)
        shares = np.bincount(scene.ys, minlength=scene.n_classes) / len(scene.ys)
        return Estimate(transported(Q, shares))
