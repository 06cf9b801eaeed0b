"""Layer 6: how sure a candidate is of the target rows (Morerio, Cavazza and Murino 2018)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import entr

from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import of_target


class Entropy(Validator):
    """Negative mean entropy of the target predictions, as a share of the largest possible.

    ``-1 / (n_t log K) sum_i H(p_i)``, between -1 (all uniform) and 0 (all certain). Morerio,
    Cavazza and Murino, *Minimal-entropy correlation alignment for unsupervised deep domain
    adaptation*, ICLR 2018, section 3.2, choose by it.

    Notes
    -----
    A candidate that puts all rows into one class with certainty has the best value: compare
    `InfoMax`. Temperatures that differ between candidates are read as knowledge.
    """

    name: ClassVar[str] = "entropy"

    def score(self, scene: Scene, trial: Trial) -> float:
        P = of_target(scene, trial)
        return -float(entr(P).sum(axis=1).mean() / np.log(scene.n_classes))
