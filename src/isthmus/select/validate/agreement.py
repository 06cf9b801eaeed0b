"""Layer 6: agreement with the mean of all candidates."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import checked, of_target


class Agreement(Validator):
    """Share of target rows that a candidate puts into the class of the consensus.

    ``mean_i [argmax p_i = argmax c_i]``, or with `soft` the overlap
    ``mean_i sum_k min(p_ik, c_ik)``. Rows on which models of one accuracy differ bound their
    error: Jiang, Nagarajan, Baek and Kolter, *Assessing generalization of SGD via disagreement*,
    ICLR 2022; Baek, Jiang, Raghunathan and Kolter, *Agreement-on-the-line*, NeurIPS 2022.

    Parameters
    ----------
    soft : bool, default=False
        Overlap of the probabilities; it reads calibration too.

    Notes
    -----
    It is the opinion of the crowd: where most candidates err alike, the one that is right loses.
    The consensus holds the candidate itself, with one share in the number of candidates.
    """

    name: ClassVar[str] = "agreement"

    def __init__(self, *, soft: bool = False) -> None:
        self.soft = soft

    def score(self, scene: Scene, trial: Trial) -> float:
        P = of_target(scene, trial)
        C = checked(scene.consensus, len(scene.Xt), scene.n_classes, "consensus")
        if self.soft:
            return float(np.minimum(P, C).sum(axis=1).mean())
        return float((P.argmax(axis=1) == C.argmax(axis=1)).mean())
