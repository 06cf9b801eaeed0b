"""Layer 6: deep embedded validation, importance weighting with a control variate (You 2019)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.adapt.density import folds_of
from isthmus.adapt.domain_classifier_weights import newton
from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.importance import losses, usable
from isthmus.select.validate.scenes import drawn, once
from isthmus.types import Array


class DEV(Validator):
    """Importance-weighted risk, its variance lowered by what the weights should add up to.

    ``R = mean(w l) + eta (mean(w) - 1)``, ``eta = -Cov(w l, w) / Var(w)``: algorithm 1 of You,
    Wang, Long and Jordan, *Towards accurate model selection in deep unsupervised domain
    adaptation*, ICML 2019. The score is ``1 - R``.

    The control variate lives on mean(w) falling beside 1, and the scene's weights are scaled to
    1 exactly, with which DEV is `IWCV`. So the weights are its own: held-out odds of a logistic
    regression between the domains, ``(n_s / n_t) P(target | x) / P(source | x)``, not scaled, on
    the leading principal directions of both domains together. They are made once for all
    candidates.

    Parameters
    ----------
    loss : {"accuracy", "log_loss"}, default="accuracy"
    directions : int, default=64
        Principal directions that the domain classifier sees, at most.
    cv : int, default=5
        Folds of the domain classifier; groups stay whole.
    most : int, default=2000
        Rows of a domain that a fold is fitted on, at most.

    Notes
    -----
    Refused where fewer than five effective rows carry the weight: domains apart.
    """

    name: ClassVar[str] = "dev"
    needs: ClassVar[tuple[str, ...]] = ("source_proba",)

    def __init__(
        self,
        *,
        loss: str = "accuracy",
        directions: int = 64,
        cv: int = 5,
        most: int = 2000,
    ) -> None:
        self.loss, self.directions, self.cv, self.most = loss, directions, cv, most

    def score(self, scene: Scene, trial: Trial) -> float:
        lost, rows = losses(scene, trial, self.loss)
        key = f"domain odds {self.directions} {self.cv} {self.most}"
        w = usable(once(scene, key, self._odds), len(scene.Xs), rows, self.name)
        risk = controlled(lost, w)
        return 1 - risk if self.loss == "accuracy" else -risk

    def _odds(self, scene: Scene) -> Array:
        """(n_s,) held-out odds of the source rows."""
        seed, ns, nt = scene.random_state, len(scene.Xs), len(scene.Xt)
        # sorted by value first: the order that rows came in decides nothing
        order_s, order_t = drawn(scene.Xs, seed), drawn(scene.Xt, seed)
        Zs, Zt = _directions(scene.Xs[order_s], scene.Xt[order_t], self.directions, seed)
        unit = np.arange(ns)
        if scene.groups is not None:
            unit = np.unique(np.asarray(scene.groups)[order_s].astype(str), return_inverse=True)[1]
        units = int(unit.max()) + 1
        k = min(self.cv, units, nt)
        if k < 2:
            raise DataError(
                f"{units} source units and {nt} target rows", where=self.name, why="no folds"
            )
        fs, ft = folds_of(units, k, seed)[unit], folds_of(nt, k, seed + 1)
        w = np.empty(ns)
        for fold in range(k):
            rows_s = np.flatnonzero(fs != fold)[: self.most]
            rows_t = np.flatnonzero(ft != fold)[: self.most]
            coef, intercept, _ = newton(np, Zs[rows_s], Zt[rows_t], 1.0)
            out = fs == fold
            # `newton` weighs both domains alike: its odds are the ratio of densities
            w[order_s[out]] = np.exp(np.clip(Zs[out] @ coef + intercept, -500.0, 500.0))
        return w


def controlled(lost: Array, w: Array) -> float:
    """Weighted risk with the control variate; eta is 0 where all weights are alike."""
    weighted = w * lost
    variance = float(w.var())
    eta = 0.0
    if variance > 1e-12 * float(w.mean()) ** 2:
        eta = -float(((weighted - weighted.mean()) * (w - w.mean())).mean()) / variance
    return float(weighted.mean() + eta * (w.mean() - 1))


def _directions(Xs: Array, Xt: Array, most: int, seed: int) -> tuple[Array, Array]:
    """Both domains standardised together, along their leading directions, each of variance 1."""
    X = np.concatenate([Xs, Xt]).astype(np.float64)
    X -= X.mean(axis=0)
    scale = X.std(axis=0)
    X = X[:, scale > 1e-12 * max(float(scale.max()), 1e-300)]
    if not X.shape[1]:
        raise DataError("no feature varies", where="dev")
    X /= X.std(axis=0)
    if min(X.shape) > most:
        from sklearn.utils.extmath import randomized_svd

        U, S, _ = randomized_svd(X, most, n_iter=4, random_state=seed)
        X = U * S
        X /= np.maximum(X.std(axis=0), 1e-12 * float(S[0]))
    return X[: len(Xs)], X[len(Xs) :]
