"""Layer 6: matrix norm of the predictions (Xie et al. 2024)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.errors import UsageError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import of_target


class MaNo(Validator):
    """Normalised entrywise norm of the target predictions.

    ``(1 / (n_t K) sum_ik p_ik^order)^(1 / order)``: equation 2 of Xie, Odonnat, Feofanov, Deng,
    Zhang and An, *MaNo: exploiting matrix norm for unsupervised accuracy estimation under
    distribution shifts*, NeurIPS 2024; between 1 / K and ``K^(-1 / order)``.

    Parameters
    ----------
    order : float, default=4
        As in the paper.

    Notes
    -----
    The paper normalises logits by softmax or, where a model is unsure, by a Taylor polynomial.
    Candidates are compared here, so one normalisation must serve all of them, and a polynomial
    of the logarithm of a probability near 0 gives that class the largest share: probabilities
    are taken as they are. As `Entropy`, it reads certainty alone.
    """

    name: ClassVar[str] = "mano"

    def __init__(self, *, order: float = 4.0) -> None:
        self.order = order

    def score(self, scene: Scene, trial: Trial) -> float:
        if not self.order >= 1:
            raise UsageError(f"order={self.order!r}", why="a norm needs at least 1")
        P = of_target(scene, trial)
        return float(np.mean(P**self.order) ** (1 / self.order))
