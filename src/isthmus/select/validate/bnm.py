"""Layer 6: batch nuclear norm (Cui et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import of_target


class BNM(Validator):
    """Nuclear norm of the matrix of target predictions, as a share of its upper bound.

    ``||P||_* / sqrt(n_t min(n_t, K))``: 1 where all rows are certain and the classes equal in
    number. The bound is equation 5 of Cui, Wang, Zhuo, Li, Huang and Tian, *Towards
    discriminability and diversity: batch nuclear-norm maximization under label insufficient
    situations*, CVPR 2020.

    Notes
    -----
    As `InfoMax` it wants sure rows and balanced classes.
    """

    name: ClassVar[str] = "bnm"

    def score(self, scene: Scene, trial: Trial) -> float:
        P = of_target(scene, trial)
        return float(np.linalg.svd(P, compute_uv=False).sum() / np.sqrt(len(P) * min(P.shape)))
