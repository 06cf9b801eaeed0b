"""Average thresholded confidence (Garg et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from isthmus.select.estimate.base import TINY, Estimate, Estimator, held_out
from isthmus.select.validate.base import Scene, Trial
from isthmus.types import Array


def max_confidence(P: Array) -> Array:
    """(n,) largest probability of a row."""
    return np.asarray(P.max(axis=1))


def negative_entropy(P: Array) -> Array:
    """(n,) sum of p log p of a row: 0 where it is certain."""
    return np.asarray((P * np.log(np.maximum(P, TINY))).sum(axis=1))


def thresholded(score_s: Array, right: Array, score_t: Array) -> tuple[float, float]:
    """Accuracy on the target and the threshold behind it (Garg et al. 2022, equations 1 and 2).

    The threshold leaves as many source rows below it as are wrong; the estimate is the share of
    target rows above it. Rows that tie with it count by the share that they have of the source's.

    Parameters
    ----------
    score_s, right : ndarray of shape (n_s,)
        Score, and whether the row is right.
    score_t : ndarray of shape (n_t,)
    """
    wrong = int((~right).sum())
    order = np.sort(score_s)
    if wrong == 0:  # nothing to calibrate the threshold with: as low as the source goes
        return float((score_t >= order[0]).mean()), float(order[0])
    if wrong == len(order):
        return float((score_t > order[-1]).mean()), float(order[-1])
    t = order[wrong]  # `wrong` rows lie below, but for ties
    below, at = int((score_s < t).sum()), int((score_s == t).sum())
    part = 1 - (wrong - below) / at  # share of the tied source rows that count as right
    return float((score_t > t).mean() + part * (score_t == t).mean()), float(t)


class _ATC(Estimator):
    needs = ("source_proba",)
    score: ClassVar[staticmethod[[Array], Array]]

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, _ = held_out(scene, trial)
        right = P.argmax(axis=1) == y
        score = type(self).score
        value, t = thresholded(score(P), right, score(np.asarray(trial.target_proba)))
        return Estimate(value, info={"threshold": t})


class ATCMaxConfidence(_ATC):
    """Share of target rows whose largest probability passes the source's threshold.

    Right when the rank of confidence means the same in both domains; overconfidence on the target
    fools it. S. Garg, S. Balakrishnan, Z. Lipton, B. Neyshabur, H. Sedghi, *Leveraging unlabeled
    data to predict out-of-distribution performance*, ICLR 2022.
    """

    name = "atc-mc"
    score = staticmethod(max_confidence)


class ATCNegativeEntropy(_ATC):
    """`ATCMaxConfidence` with the negative entropy of a row for its score."""

    name = "atc-ne"
    score = staticmethod(negative_entropy)
