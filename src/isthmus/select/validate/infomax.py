"""Layer 6: sure of every row, and yet of all classes (Bridle, Heading and MacKay 1992)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import entr

from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import of_target


class InfoMax(Validator):
    """Mutual information of row and predicted class, as a share of the largest possible.

    ``(H(mean_i p_i) - mean_i H(p_i)) / log K``, between 0 and 1. Bridle, Heading and MacKay,
    *Unsupervised classifiers, mutual information and phantom targets*, NIPS 1992, equation 2;
    as a validator: Musgrave, Belongie and Lim, *Three new validators and a large-scale benchmark
    ranking for unsupervised domain adaptation*, 2022.

    Notes
    -----
    It wants balanced classes: on a target with unlike class shares it prefers a candidate that
    evens them out.
    """

    name: ClassVar[str] = "infomax"

    def score(self, scene: Scene, trial: Trial) -> float:
        P = of_target(scene, trial)
        gain = entr(P.mean(axis=0)).sum() - entr(P).sum(axis=1).mean()
        return float(gain / np.log(scene.n_classes))
