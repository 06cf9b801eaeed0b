"""Held-out recall of each class, weighted by the class shares estimated for the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.adapt.confusion import joint, regularised, shares
from isthmus.errors import DataError
from isthmus.select.estimate.base import Estimate, Estimator, held_out
from isthmus.select.validate.base import Scene, Trial


class PriorShift(Estimator):
    """``sum_c q(c) P(right | c)``: recalls from held-out source rows, q from the predictions.

    q solves ``C w = mu`` with the held-out confusion matrix C and the shares mu of the predicted
    classes on the target, shrunk to the source's shares as in RLLS (Azizzadenesheli et al., ICLR
    2019). Right under label shift: p(x | y) the same in both domains.
    """

    name = "prior-shift"
    needs = ("source_proba",)

    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        P, y, _ = held_out(scene, trial)
        known, codes = np.unique(y, return_inverse=True)
        if len(known) < 2:
            raise DataError("held-out source rows of one class")
        k = len(known)
        eye = np.eye(scene.n_classes)
        held = eye[P.argmax(axis=1)][:, known]
        mu = eye[np.asarray(trial.target_proba).argmax(axis=1)][:, known].mean(axis=0)
        prior = np.bincount(codes, minlength=k) / len(codes)
        noise = np.sqrt(k / len(codes)) + np.sqrt(k / len(trial.target_proba))
        w = regularised(joint(held, codes, k), mu, 0.5 * float(noise))
        q = shares(w, prior)
        right = np.bincount(codes, weights=P.argmax(axis=1) == y, minlength=k)
        recall = right / np.bincount(codes, minlength=k)
        return Estimate(float(q @ recall), info={"moved": float(0.5 * np.abs(q - prior).sum())})
