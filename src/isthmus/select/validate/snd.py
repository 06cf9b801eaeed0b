"""Layer 6: soft neighbourhood density (Saito et al. 2021)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import softmax, xlogy

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import of_target
from isthmus.select.validate.scenes import shuffled_target

BLOCK = 4_000_000  # similarities held at once


class SND(Validator):
    """Mean entropy of a row's similarity to all others: large where predictions form dense groups.

    ``S_ij = cos(p_i, p_j)``, ``P_i = softmax_j!=i (S_ij / temperature)``, score
    ``mean_i H(P_i)``, here divided by ``log(n - 1)``: equations 2 to 4 of Saito, Kim, Teterwak,
    Sclaroff, Darrell and Saenko, *Tune it the right way: unsupervised validation of domain
    adaptation via soft neighborhood density*, ICCV 2021.

    Parameters
    ----------
    temperature : float, default=0.05
        As in the paper.
    most : int, default=2000
        Target rows beyond this are drawn, the same for all candidates.

    Notes
    -----
    All rows in one class is the densest neighbourhood of all and has the best value, 1.
    """

    name: ClassVar[str] = "snd"

    def __init__(self, *, temperature: float = 0.05, most: int = 2000) -> None:
        self.temperature, self.most = temperature, most

    def score(self, scene: Scene, trial: Trial) -> float:
        if not self.temperature > 0:
            raise UsageError(f"temperature={self.temperature!r}", why="it must be above 0")
        P = of_target(scene, trial)
        if len(P) > self.most:
            P = P[shuffled_target(scene)[: self.most]]
        n = len(P)
        if n < 3:
            raise DataError(f"{n} target rows", where=self.name, why="neighbours need three")
        P = P / np.linalg.norm(P, axis=1, keepdims=True)
        step, total = max(1, BLOCK // n), 0.0
        for start in range(0, n, step):
            near = (P[start : start + step] @ P.T) / self.temperature
            here = np.arange(len(near))
            near[here, start + here] = -np.inf  # a row is no neighbour of itself
            near = softmax(near, axis=1)
            total -= float(xlogy(near, near).sum())
        return total / n / float(np.log(n - 1))
