"""Weights from a classifier that tells the domains apart (Bickel, Bruckner and Scheffer 2009)."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.density import approximate, canonical, draw, folds_of, host, take
from isthmus.adapt.least_squares import eye_like
from isthmus.types import Adaptation, Array, Trouble


class DomainClassifierWeights(Adapter):
    """Odds of a logistic regression, target against source, on rows it was not fitted on.

    ``w(x) = (n_s / n_t) P(target | x) / P(source | x)`` (Bickel, Bruckner and Scheffer,
    *Discriminative learning under covariate shift*, JMLR 2009, equation 5). Fitted on its own
    rows the classifier tells them apart too well as soon as features are many; cross-fitting
    keeps the odds honest.

    Parameters
    ----------
    reg : float, default=1.0
        L2 penalty on standardised features (1 / C in scikit-learn's terms).
    cv : int, default=5
        Folds; each row's odds come from the model that did not see it.
    clip : float, default=20.0
        Largest weight in units of the mean weight.
    solver : {"auto", "exact", "approximate"}, default="auto"
        "approximate" fits each model on at most `max_exact` rows of each domain; the odds are
        computed for all rows; "auto" = by size.
    max_exact : int, default=5000
    random_state : int, default=0
        Seed of the folds; they depend on the values, not on the order of the rows.

    Notes
    -----
    Cost: some ten Newton steps of O(n d^2 + d^3) a fold.
    """

    family = "instance"

    def __init__(
        self,
        reg: float = 1.0,
        *,
        cv: int = 5,
        clip: float = 20.0,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.reg, self.cv, self.clip, self.solver = reg, cv, clip, solver
        self.max_exact, self.random_state = max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = canonical(check_domains(Xs, ys, Xt, who="DomainClassifierWeights"))
        xp, seed = data.xp, self.random_state
        ns, nt = data.Xs.shape[0], data.Xt.shape[0]
        part = approximate(self.solver, max(ns, nt), self.max_exact)
        most = self.max_exact if part else max(ns, nt)
        joined = xp.concat([data.Xs, data.Xt])
        mean = xp.mean(joined, axis=0)
        scale = xp.std(joined, axis=0)
        scale = xp.where(scale > 1e-12 * float(xp.max(scale)) + 1e-300, scale, xp.ones_like(scale))
        Zs, Zt = (data.Xs - mean) / scale, (data.Xt - mean) / scale
        k = min(self.cv, ns, nt)
        troubles: tuple[Trouble, ...] = ()
        if k < 2:
            reason = f"{ns} source and {nt} target rows are too few to hold any out"
            troubles = (Trouble("in-sample", reason, "Give more rows, or expect sharp odds"),)
        fs = folds_of(ns, max(k, 1), seed)
        ft = folds_of(nt, max(k, 1), seed + 1)
        where, logits, on_target = [], [], np.zeros(nt)
        converged = True
        for fold in range(max(k, 1)):
            rows_s, rows_t = (np.flatnonzero(f != fold) for f in (fs, ft))
            if k < 2:
                rows_s, rows_t = np.arange(ns), np.arange(nt)
            rows_s = np.sort(rows_s[draw(len(rows_s), most, seed + 2)])
            rows_t = np.sort(rows_t[draw(len(rows_t), most, seed + 3)])
            w, b, fine = newton(xp, take(xp, Zs, rows_s), take(xp, Zt, rows_t), self.reg)
            converged &= fine
            out_s, out_t = np.flatnonzero(fs == fold), np.flatnonzero(ft == fold)
            where.append(out_s)
            logits.append(take(xp, Zs, out_s) @ w + b)
            on_target[out_t] = host(take(xp, Zt, out_t) @ w) + b
        logit = take(xp, xp.concat(logits), np.argsort(np.concatenate(where)))
        if not converged:
            troubles += (
                Trouble("not-converged", "a domain classifier did not settle", "Raise reg"),
            )
        ratio = xp.exp(logit - xp.max(logit))
        return data.weighted(
            ratio,
            troubles,
            clip=self.clip,
            solver="approximate" if part else "exact",
            domain_auc=auc(host(logit), on_target),
        )


def newton(xp: Any, Zs: Any, Zt: Any, reg: float) -> tuple[Any, float, bool]:
    """Logistic regression with both domains weighing the same: its odds are p_t / p_s.

    Returns
    -------
    coefficients (d,), intercept, whether the gradient vanished
    """
    ns, nt = Zs.shape[0], Zt.shape[0]
    Z = xp.concat([Zs, Zt])
    Z = xp.concat([Z, xp.ones_like(Z[:, :1])], axis=1)
    one_s, one_t = xp.ones_like(Zs[:, 0]), xp.ones_like(Zt[:, 0])
    y = xp.concat([0 * one_s, one_t])
    mass = xp.concat([one_s * ((ns + nt) / (2 * ns)), one_t * ((ns + nt) / (2 * nt))])
    eye = eye_like(xp, Z[:1, :].T @ Z[:1, :])
    last = Z.shape[1] - 1
    # the intercept is not penalised, but for a trace that keeps the system regular
    penalty = xp.concat([xp.ones_like(Z[0, :last]) * reg, xp.ones_like(Z[0, :1]) * 1e-9])
    theta = xp.zeros_like(Z[0, :])

    def loss(theta: Any) -> float:
        margin = Z @ theta
        soft = xp.log1p(xp.exp(-xp.abs(margin))) + xp.where(margin > 0, margin, 0 * margin)
        return float(mass @ (soft - y * margin)) + 0.5 * float(penalty @ theta**2)

    value = loss(theta)
    for _ in range(50):
        margin = xp.clip(Z @ theta, -500.0, 500.0)
        p = 1 / (1 + xp.exp(-margin))
        slope = Z.T @ (mass * (p - y)) + penalty * theta
        if float(xp.max(xp.abs(slope))) <= 1e-7 * (ns + nt):
            return theta[:last], float(theta[last]), True
        curve = mass * p * (1 - p)
        H = Z.T @ (Z * curve[:, None]) + eye * (penalty + 1e-10)[None, :]
        move = xp.linalg.solve(H, slope[:, None])[:, 0]
        step = 1.0
        while step > 1e-8:
            ahead = loss(theta - step * move)
            if ahead <= value - 1e-4 * step * float(slope @ move):
                break
            step /= 2
        theta, value = theta - step * move, ahead
        if step <= 1e-8:
            break
    return theta[:last], float(theta[last]), False


def auc(source: Array, target: Array) -> float:
    """Probability that a target row scores above a source row; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([source, target]))[len(source) :]
    n = len(target)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * len(source)))
