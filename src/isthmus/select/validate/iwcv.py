"""Layer 6: importance-weighted cross-validation (Sugiyama, Krauledat and Mueller 2007)."""

from __future__ import annotations

from typing import ClassVar

from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.importance import losses, usable


class IWCV(Validator):
    """Out-of-fold accuracy on the source, rows weighted as the target would have them.

    ``sum_i w_i [argmax p_i = y_i] / sum_i w_i`` with the density ratio w: equation 6 of
    Sugiyama, Krauledat and Mueller, *Covariate shift adaptation by importance weighted cross
    validation*, JMLR 2007, self-normalised.

    Parameters
    ----------
    loss : {"accuracy", "log_loss"}, default="accuracy"
        "log_loss": the negative weighted log loss.

    Notes
    -----
    Unbiased where p(y | features) is the same in both domains and the target lies within the
    source; refused where fewer than five effective rows carry the weight.
    """

    name: ClassVar[str] = "iwcv"
    needs: ClassVar[tuple[str, ...]] = ("source_proba",)

    def __init__(self, *, loss: str = "accuracy") -> None:
        self.loss = loss

    def score(self, scene: Scene, trial: Trial) -> float:
        lost, rows = losses(scene, trial, self.loss)
        w = usable(scene.weights, len(scene.Xs), rows, self.name)
        risk = float(w @ lost / w.sum())
        return 1 - risk if self.loss == "accuracy" else -risk
