"""Gromov-Wasserstein: match rows of two feature spaces by the distances within each."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from isthmus.adapt.transport import finite, heard, pot
from isthmus.adapt.unlike_spaces import UnlikeSpacesClassifier
from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Trouble


class GromovWasserstein(UnlikeSpacesClassifier):
    """Label propagation through a Gromov-Wasserstein plan; the spaces may differ in dimension.

    ``min_P sum |Ds_ik - Dt_jl|^2 P_ij P_kl`` over plans with uniform weights, D the Euclidean
    distances within a domain in units of their median (Memoli, *Gromov-Wasserstein distances and
    the metric approach to object matching*, 2011; Peyre, Cuturi and Solomon 2016), by
    ``ot.gromov``. With labelled target rows the fused form (Vayer et al. 2019) charges a plan for
    joining different classes.

    Parameters
    ----------
    estimator : classifier, optional
        Fitted to target rows and the labels that the plan brought. Default: standardised logistic
        regression.
    trade_off : float, default=0.5
        Share of the label cost where target labels are given, in (0, 1).
    max_iter : int, default=1000
    max_exact : int, default=1000
        Random rows of each side that are matched (labelled target rows first); the classifier
        serves the others. An approximation: the plan of a subset.
    random_state : int, default=0

    Attributes
    ----------
    classes_ : ndarray
    plan_ : ndarray of shape (source rows, target rows)
    source_rows_, target_rows_ : ndarray of int
        The rows that were matched.
    shares_ : ndarray of shape (target rows, n_classes)
    labels_ : ndarray of shape (target rows,)
    estimator_, troubles_, info_

    Notes
    -----
    Not convex: two starts (the product plan, and matching of the rows' distance profiles), with
    target labels a third (the class of the nearest labelled row); the cheapest result is kept.
    Distances know nothing of classes: where clusters have alike shapes the match is a guess, and a
    few target labels settle it. Cost: O(n^3) an iteration. NumPy only.
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        trade_off: float = 0.5,
        max_iter: int = 1000,
        max_exact: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.trade_off, self.max_iter = estimator, trade_off, max_iter
        self.max_exact, self.random_state = max_exact, random_state

    def fit_domains(self, Xs: Any, ys: Any, Xt: Any, yt: Any = None) -> GromovWasserstein:
        """Match and fit.

        Parameters
        ----------
        Xs : array of shape (n_s, d_s)
        ys : array of shape (n_s,)
        Xt : array of shape (n_t, d_t)
        yt : array of shape (n_t,), optional
            Labels of target rows; None or NaN = unlabelled.

        Raises
        ------
        DataError
            If a side is empty, holds NaN, or all of its rows are equal.
        """
        if not 0 < self.trade_off < 1:
            raise UsageError(f"trade_off={self.trade_off}", remedy="trade_off must be in (0, 1)")
        match = partial(_match, trade_off=self.trade_off, max_iter=self.max_iter)
        self._carry_labels(
            Xs, ys, Xt, yt, match=match, who="GromovWasserstein", params=self.get_params(False)
        )
        return self


def _match(
    Xs: Array, Xt: Array, differs: Array | None, *, trade_off: float, max_iter: int
) -> tuple[Array, tuple[Trouble, ...], dict[str, Any]]:
    ot = pot()
    Ds, Dt = _distances(Xs, "source"), _distances(Xt, "target")
    p, q = np.full(len(Xs), 1 / len(Xs)), np.full(len(Xt), 1 / len(Xt))
    label = differs if differs is not None else np.zeros((len(Xs), len(Xt)))
    alpha = 1 - trade_off if differs is not None else 1.0
    levels = np.linspace(0, 1, 33)
    profiles = [np.quantile(D, levels, axis=1).T for D in (Ds, Dt)]
    apart = ot.dist(*profiles)
    starts = [np.outer(p, q), ot.emd(p, q, apart)]
    if differs is not None and (given := np.flatnonzero(differs.any(axis=0))).size:
        near = given[Dt[given].argmin(axis=0)]  # each target row with its nearest labelled one
        starts.append(ot.emd(p, q, apart / max(apart.max(), 1e-12) + differs[:, near]))
    found = []
    for G0 in starts:
        with heard() as said:
            plan, log = ot.gromov.fused_gromov_wasserstein(
                label, Ds, Dt, p, q, alpha=alpha, symmetric=True, G0=G0, max_iter=max_iter, log=True
            )
        if finite(plan):
            found.append((float(log["fgw_dist"]), len(log["loss"]) - 1, plan, said))
    if not found:
        raise DataError("no plan was found", where="GromovWasserstein")
    cost, steps, plan, said = min(found, key=lambda f: f[0])
    troubles: tuple[Trouble, ...] = ()
    if steps >= max_iter or said:
        reason = f"{steps} steps, {'; '.join(said) or 'the cost was still falling'}"
        troubles = (Trouble("not-converged", reason, "Raise max_iter"),)
    return plan, troubles, {"cost": cost, "steps": steps}


def _distances(X: Array, side: str) -> Array:
    D = np.asarray(pot().dist(X, X, metric="euclidean"))
    np.fill_diagonal(D, 0.0)
    D = (D + D.T) / 2
    unit = float(np.median(D)) or float(D.mean())
    if not unit > 0:
        raise DataError(f"all {len(X)} {side} rows are equal", where="GromovWasserstein")
    return np.asarray(D / unit)
