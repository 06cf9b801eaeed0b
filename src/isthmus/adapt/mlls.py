"""MLLS: the target's class prior by maximum likelihood (Saerens, Latinne and Decaestecker 2002)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from isthmus.adapt.base import Adapter
from isthmus.adapt.black_box import begin, conclude, look, resampled
from isthmus.adapt.mixture import proportions
from isthmus.types import Adaptation, Array, Trouble


class MLLS(Adapter):
    """Maximum likelihood label shift: EM over calibrated probabilities.

    ``max_q mean_t log sum_j q(j) p(j | x) / p(j)`` by EM (Saerens, Latinne and Decaestecker,
    Neural Computation 2002, equations 2.9 to 2.11), with probabilities calibrated on held-out
    source rows by bias-corrected temperature scaling, ``softmax(z / T + b)`` (Alexandari, Kundaje
    and Shrikumar, *Maximum likelihood with bias-corrected calibration is hard-to-beat at label
    shift adaptation*, ICML 2020).

    Parameters
    ----------
    estimator : classifier with predict_proba, optional
        Default: logistic regression on standardised features.
    use : {"weights", "correction"}, default="weights"
        Weights on source rows, or `Adaptation.prior` for a correction at predict time.
    calibrate : bool, default=True
        False: the classifier's probabilities as they are.
    tol : float, default=1e-6
        Bound on the distance to the largest log-likelihood per row.
    max_iter : int, default=2000
        Steps of EM.
    n_boot : int, default=100
        Bootstrap draws behind the intervals; each calibrates anew and runs EM on at most
        1,000 rows of a side, scaled to all.
    cv, clip, solver, max_exact, random_state
        As in `BBSE`.
    """

    needs_labels = True
    family = "label-shift"

    def __init__(
        self,
        estimator: Any = None,
        *,
        use: str = "weights",
        calibrate: bool = True,
        tol: float = 1e-6,
        max_iter: int = 2000,
        cv: int = 5,
        n_boot: int = 100,
        clip: float = 20.0,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.use, self.calibrate = estimator, use, calibrate
        self.tol, self.max_iter, self.cv, self.n_boot = tol, max_iter, cv, n_boot
        self.clip, self.solver = clip, solver
        self.max_exact, self.random_state = max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = begin(Xs, ys, Xt, "MLLS")
        box = look(
            data,
            estimator=self.estimator,
            cv=self.cv,
            solver=self.solver,
            max_exact=self.max_exact,
            seed=self.random_state,
            who="MLLS",
        )
        k, n = len(box.classes), len(box.codes)

        def fit(source: Array, rows: Array, tol: float) -> tuple[Array, float, int, float]:
            z, y = box.held[source], box.codes[source]
            T, bias = calibration(z, y) if self.calibrate and k > 1 else (1.0, np.zeros(k))
            prior = np.bincount(y, minlength=k) / len(y)
            parts = softmax(box.target[rows] / T + bias, axis=2) / prior
            mass = np.tile(box.share / len(rows), len(rows))
            q, gap, steps = proportions(
                np, parts.reshape(-1, k), start=prior, mass=mass, tol=tol, max_iter=self.max_iter
            )
            return q, gap, steps, T

        q, gap, steps, T = fit(np.arange(n), np.arange(len(box.target)), self.tol)
        spread = resampled(
            box,
            lambda source, rows: fit(source, rows, max(self.tol, 1e-4))[0],
            n_boot=self.n_boot if k > 1 else 0,
            rows=min(self.max_exact, 1000),
            seed=self.random_state,
        )
        troubles: tuple[Trouble, ...] = ()
        if gap > 10 * self.tol:
            reason = f"the log-likelihood may be {gap:.2g} below its optimum after {steps} steps"
            troubles = (Trouble("not-converged", reason, "Raise max_iter"),)
        return conclude(
            data,
            box,
            q,
            spread,
            use=self.use,
            clip=self.clip,
            troubles=troubles,
            temperature=float(T),
            iterations=steps,
            gap=float(gap),
        )


def calibration(z: Array, y: Array) -> tuple[float, Array]:
    """Temperature and biases of ``softmax(z / T + b)`` by maximum likelihood on held-out rows.

    T stays within 0.05 and 20 and the biases carry a faint ridge: classes that are told apart
    without an error would send both to infinity.
    """
    n, k = z.shape
    once = np.eye(k)[y]

    def loss(theta: Array) -> tuple[float, Array]:
        beta = np.exp(theta[0])
        p = log_softmax(beta * z + theta[1:], axis=1)
        left = (np.exp(p) - once) / n
        slope = np.concatenate([[beta * (left * z).sum()], left.sum(axis=0) + 1e-4 * theta[1:]])
        return -float(p[np.arange(n), y].mean()) + 5e-5 * float(theta[1:] @ theta[1:]), slope

    limits = [(-3.0, 3.0)] + [(-10.0, 10.0)] * k
    found = minimize(loss, np.zeros(k + 1), jac=True, bounds=limits, method="L-BFGS-B")
    return float(np.exp(-found.x[0])), found.x[1:]
