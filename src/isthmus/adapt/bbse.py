"""BBSE: the target's class prior from a confusion matrix (Lipton, Wang and Smola 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter
from isthmus.adapt.black_box import begin, conclude, look, resampled
from isthmus.adapt.confusion import inverted, joint, shares
from isthmus.types import Adaptation, Array, Trouble


class BBSE(Adapter):
    """Black box shift estimation.

    ``w = C^-1 mu`` with C[i, j] = share of held-out source rows of class j predicted as i and
    mu[i] = share of target rows predicted as i; ``w_j = q(j) / p(j)`` (Lipton, Wang and Smola,
    *Detecting and correcting for label shift with black box predictors*, ICML 2018, equation 4).
    The confusion matrix is measured by cross-fitting on the source.

    Parameters
    ----------
    estimator : classifier with predict_proba, optional
        The black box. Default: logistic regression on standardised features.
    use : {"weights", "correction"}, default="weights"
        Weights on source rows, or `Adaptation.prior` for a correction at predict time.
    soft : bool, default=False
        Mean probabilities in the place of predicted classes.
    cv : int, default=5
        Folds.
    n_boot : int, default=200
        Bootstrap draws behind the intervals.
    clip : float, default=20.0
        Largest weight in units of the mean weight.
    solver : {"auto", "exact", "approximate"}, default="auto"
        "approximate" fits each classifier on at most `max_exact` rows, and the bootstrap draws
        as many; predictions are made for all rows; "auto" = by size.
    max_exact : int, default=5000
    random_state : int, default=0
        Seed of folds and bootstrap; they depend on the values, not on the order of the rows.

    Notes
    -----
    `Adaptation.info` holds ``target_prior`` (class -> value and 95 % interval), ``source_prior``,
    ``condition`` of C and ``held_out_accuracy``. Cost: `cv` classifiers.
    """

    needs_labels = True
    family = "label-shift"

    def __init__(
        self,
        estimator: Any = None,
        *,
        use: str = "weights",
        soft: bool = False,
        cv: int = 5,
        n_boot: int = 200,
        clip: float = 20.0,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.use, self.soft, self.cv = estimator, use, soft, cv
        self.n_boot, self.clip, self.solver = n_boot, clip, solver
        self.max_exact, self.random_state = max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = begin(Xs, ys, Xt, "BBSE")
        box = look(
            data,
            estimator=self.estimator,
            cv=self.cv,
            solver=self.solver,
            max_exact=self.max_exact,
            seed=self.random_state,
            who="BBSE",
        )
        held, target = box.votes(self.soft)
        k, prior = len(box.classes), box.prior
        w, condition = inverted(joint(held, box.codes, k), target.mean(axis=0))

        def estimate(source: Array, rows: Array) -> Array:
            codes = box.codes[source]
            w, _ = inverted(joint(held[source], codes, k), target[rows].mean(axis=0))
            return shares(w, np.bincount(codes, minlength=k) / len(codes))

        spread = resampled(
            box, estimate, n_boot=self.n_boot, rows=self.max_exact, seed=self.random_state
        )
        troubles: tuple[Trouble, ...] = ()
        if condition > 100 * k:
            troubles += (
                Trouble(
                    "singular",
                    f"the confusion matrix has condition number {condition:.3g}",
                    "Classes are mixed up: use RLLS, a better estimator, or fewer classes",
                ),
            )
        if (gone := int((w < -1e-9).sum())) > 0:
            troubles += (
                Trouble(
                    "negative",
                    f"{gone} of {k} weights were negative (least {w.min():.2g}) and became 0",
                    "Classes that the target lacks, few rows, or not a label shift: see MLLS",
                ),
            )
        return conclude(
            data,
            box,
            shares(w, prior),
            spread,
            use=self.use,
            clip=self.clip,
            troubles=troubles,
            condition=condition,
        )
