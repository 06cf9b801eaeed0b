"""RLLS: BBSE, regularised towards no shift (Azizzadenesheli et al. 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter
from isthmus.adapt.black_box import begin, conclude, look, resampled
from isthmus.adapt.confusion import inverted, joint, regularised, shares
from isthmus.types import Adaptation, Array


class RLLS(Adapter):
    """Regularised learning under label shift.

    ``w = 1 + t``, ``t = argmin |C t - (mu - C 1)| + rho |t|`` over ``t >= -1`` with C and mu as in
    BBSE and ``rho = 3 alpha (2 log(2k/delta) / (3 n_s) + sqrt(2 log(2k/delta) / n_s))``
    (Azizzadenesheli, Liu, Yang and Anandkumar, *Regularized learning for domain adaptation under
    label shifts*, ICLR 2019, equations 6 and 7; delta = 0.05 and alpha = 0.01 as its authors run
    it).

    Parameters
    ----------
    estimator : classifier with predict_proba, optional
        Default: logistic regression on standardised features.
    alpha : float, default=0.01
        Strength of the regularisation; 0 is BBSE without negative weights.
    shrink : float, default=1.0
        Weights are ``1 + shrink t`` (the paper's gamma).
    use : {"weights", "correction"}, default="weights"
        Weights on source rows, or `Adaptation.prior` for a correction at predict time.
    soft, cv, clip, solver, max_exact, random_state
        As in `BBSE`.
    n_boot : int, default=100
        Bootstrap draws behind the intervals.
    """

    needs_labels = True
    family = "label-shift"

    def __init__(
        self,
        estimator: Any = None,
        *,
        alpha: float = 0.01,
        shrink: float = 1.0,
        use: str = "weights",
        soft: bool = False,
        cv: int = 5,
        n_boot: int = 100,
        clip: float = 20.0,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.alpha, self.shrink, self.use = estimator, alpha, shrink, use
        self.soft, self.cv, self.n_boot, self.clip = soft, cv, n_boot, clip
        self.solver, self.max_exact, self.random_state = solver, max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = begin(Xs, ys, Xt, "RLLS")
        box = look(
            data,
            estimator=self.estimator,
            cv=self.cv,
            solver=self.solver,
            max_exact=self.max_exact,
            seed=self.random_state,
            who="RLLS",
        )
        held, target = box.votes(self.soft)
        k, n = len(box.classes), len(box.codes)
        doubt = np.log(2 * k / 0.05) / n
        rho = self.alpha * 3 * (2 * doubt / 3 + (2 * doubt) ** 0.5)

        def estimate(source: Array, rows: Array) -> Array:
            codes = box.codes[source]
            w = regularised(joint(held[source], codes, k), target[rows].mean(axis=0), rho)
            w = 1 + self.shrink * (w - 1)
            return shares(w, np.bincount(codes, minlength=k) / len(codes))

        spread = resampled(
            box, estimate, n_boot=self.n_boot, rows=self.max_exact, seed=self.random_state
        )
        return conclude(
            data,
            box,
            estimate(np.arange(n), np.arange(len(target))),
            spread,
            use=self.use,
            clip=self.clip,
            condition=inverted(joint(held, box.codes, k), target.mean(axis=0))[1],
            rho=float(rho),
        )
