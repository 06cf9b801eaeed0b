"""Layer 6: circular (reverse) validation (Zhong et al. 2010; Bruzzone and Marconcini 2010)."""

from __future__ import annotations

from typing import ClassVar

from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.circles import pseudo_labels, way_back


class Circular(Validator):
    """Accuracy on the source of the same candidate fitted back from its own target predictions.

    ``mean_i [h'(x_i) = y_i]`` over source rows, h' being the candidate fitted on
    ``{(x_t, argmax p(x_t))}`` as source and the source rows as target: section 4 of Zhong, Fan,
    Yang, Verscheure and Ren, *Cross validation framework to choose amongst models and datasets
    for transfer learning*, ECML PKDD 2010; Bruzzone and Marconcini, *Domain adaptation problems:
    a DASVM classification technique and a circular validation strategy*, PAMI 2010.

    Notes
    -----
    A map that is wrong and can be undone comes back to its start, so high-capacity maps are
    preferred, and a prior shift that fools the way there fools the way back: see
    `CircularPrior` and `CircularCapacity`.
    """

    name: ClassVar[str] = "circular"
    needs: ClassVar[tuple[str, ...]] = ("refit",)
    cost: ClassVar[str] = "refit"

    def score(self, scene: Scene, trial: Trial) -> float:
        return way_back(scene, trial, pseudo_labels(scene, trial))
