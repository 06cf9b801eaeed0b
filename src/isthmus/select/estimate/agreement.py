"""Accuracy from how often a candidate agrees with the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from isthmus.errors import DataError
from isthmus.select.estimate.base import Estimate, Estimator, held_out
from isthmus.select.validate.base import Scene, Trial
from isthmus.types import Array

FEWEST = 4  # candidates below which no line is fitted


class Agreement(Estimator):
    """Mean share of target rows on which another candidate says the same.

    For well calibrated ensembles of one training procedure disagreement is test error (Y. Jiang,
    V. Nagarajan, C. Baek, Z. Kolter, *Assessing generalization of SGD via disagreement*, ICLR
    2022). Candidates that make the same mistakes fool it. Without other candidates: the mass that
    the consensus gives to the predicted classes.
    """

    name = "agreement"

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        mine = np.asarray(trial.target_proba).argmax(axis=1)
        if not others:
            mass = np.asarray(scene.consensus)[np.arange(len(mine)), mine]
            return Estimate(float(mass.mean()), info={"candidates": 0})
        same = [(np.asarray(o.target_proba).argmax(axis=1) == mine).mean() for o in others]
        return Estimate(float(np.mean(same)), info={"candidates": len(others)})


class AgreementChange(Estimator):
    """Held-out source accuracy times the ratio of agreement on the target to that on the source.

    The difference form of agreement: habits that the candidates share cancel.
    """

    name = "agreement-change"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        both = [o for o in others if o.source_proba is not None]
        if not both:
            raise DataError("no other candidate has source probabilities")
        P, y, rows = held_out(scene, trial)
        mine_s, mine_t = P.argmax(axis=1), np.asarray(trial.target_proba).argmax(axis=1)
        here = [(_votes(o.source_proba)[rows] == mine_s).mean() for o in both]
        there = [(_votes(o.target_proba) == mine_t).mean() for o in both]
        ratio = float(np.mean(there)) / max(float(np.mean(here)), 1e-9)
        return Estimate(float((mine_s == y).mean()) * ratio, info={"ratio": ratio})


class AgreementLine(Estimator):
    """Agreement on the line: target accuracy through the line that agreement follows.

    On the probit scale the agreement of pairs of candidates on the target is a line over that on
    the source, and accuracies follow the same line; the accuracies are the least-squares solution
    over all pairs (ALine-D). C. Baek, Y. Jiang, A. Raghunathan, Z. Kolter, *Agreement-on-the-line*,
    NeurIPS 2022, equation 6. Needs four candidates; ``r2`` says how much of a line it is.
    """

    name = "agreement-line"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        all_ = [trial, *(o for o in others if o.source_proba is not None)]
        m = len(all_)
        if m < FEWEST:
            raise DataError(f"{m} candidates with source probabilities", why="a line needs 4")
        y = np.asarray(scene.ys)
        S = np.stack([_votes(t.source_proba) for t in all_])
        T = np.stack([_votes(t.target_proba) for t in all_])
        acc = _probit((y == S).mean(axis=1), S.shape[1])
        i, j = np.triu_indices(m, 1)
        here = _probit(np.stack([(row == S).mean(axis=1) for row in S])[i, j], S.shape[1])
        there = _probit(np.stack([(row == T).mean(axis=1) for row in T])[i, j], T.shape[1])
        if np.ptp(here) < 1e-6:
            raise DataError("all pairs of candidates agree alike on the source")
        spread = here - here.mean()
        slope = float(spread @ (there - there.mean()) / (spread @ spread))
        r2 = float(np.corrcoef(here, there)[0, 1] ** 2) if np.ptp(there) > 1e-9 else 0.0
        slope = float(np.clip(slope, 0.0, 2.0))  # a line that falls says nothing
        pairs = np.zeros((len(i), m))
        pairs[np.arange(len(i)), i] = pairs[np.arange(len(i)), j] = 0.5
        goal = there + slope * (0.5 * (acc[i] + acc[j]) - here)
        solved = np.linalg.lstsq(pairs, goal, rcond=None)[0]
        return Estimate(float(norm.cdf(solved[0])), info={"slope": slope, "r2": r2})


def _votes(P: Array | None) -> Array:
    """(n,) predicted classes; a row without a finite probability gets one that is no class."""
    P = np.asarray(P)
    fine = np.asarray(np.isfinite(P).all(axis=-1))
    if fine.all():
        return P.argmax(axis=1).astype(np.int32)
    return np.where(fine, np.where(fine[:, None], P, 0).argmax(axis=1), -1).astype(np.int32)


def _probit(share: Array, n: int) -> Array:
    """Normal quantile of a share of n rows, kept from the ends by half a row."""
    return np.asarray(norm.ppf(np.clip(share, 0.5 / n, 1 - 0.5 / n)))
