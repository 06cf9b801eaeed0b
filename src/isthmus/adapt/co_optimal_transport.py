"""CO-optimal transport: match rows and features of two spaces together."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from isthmus.adapt.transport import finite, heard
from isthmus.adapt.unlike_spaces import UnlikeSpacesClassifier
from isthmus.errors import DataError, UsageError, need
from isthmus.types import Array, Trouble


class CoOptimalTransport(UnlikeSpacesClassifier):
    """Label propagation through the row plan of CO-optimal transport.

    ``min_{P, Q} sum |Xs_ik - Xt_jl|^2 P_ij Q_kl`` over plans of rows P and of features Q (Redko,
    Vayer, Flamary and Courty, *CO-optimal transport*, NeurIPS 2020), by
    ``ot.coot.co_optimal_transport`` on columns standardised per domain. With labelled target rows
    the plan pays for joining different classes, as in section 5 of the paper.

    Parameters
    ----------
    estimator : classifier, optional
        Fitted to target rows and the labels that the plan brought. Default: standardised logistic
        regression.
    trade_off : float, default=1.0
        Price of joining different classes where target labels are given, in units of the mean
        squared difference of entries.
    max_iter : int, default=100
        Rounds of the two plans.
    max_exact : int, default=1000
        Random rows of each side that are matched (labelled target rows first); the classifier
        serves the others. An approximation: the plan of a subset.
    random_state : int, default=0

    Attributes
    ----------
    classes_, plan_, source_rows_, target_rows_, shares_, labels_, estimator_, troubles_, info_
        As in `GromovWasserstein`.
    feature_plan_ : ndarray of shape (d_s, d_t)
        Which features stand for each other.

    Notes
    -----
    Not convex: the rounds end in a local optimum that depends on the start (the product plans).
    Unlike Gromov-Wasserstein it compares entries, so that features must have counterparts.
    Cost: O(n_s n_t min(d) + n^3) a round. NumPy only.
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        trade_off: float = 1.0,
        max_iter: int = 100,
        max_exact: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.trade_off, self.max_iter = estimator, trade_off, max_iter
        self.max_exact, self.random_state = max_exact, random_state

    def fit_domains(self, Xs: Any, ys: Any, Xt: Any, yt: Any = None) -> CoOptimalTransport:
        """Match and fit; arguments as in `GromovWasserstein.fit_domains`.

        Raises
        ------
        DataError
            If a side is empty or holds NaN.
        """
        if not self.trade_off > 0:
            raise UsageError(f"trade_off={self.trade_off}", remedy="trade_off must be positive")
        match = partial(_match, trade_off=self.trade_off, max_iter=self.max_iter)
        self._carry_labels(
            Xs, ys, Xt, yt, match=match, who="CoOptimalTransport", params=self.get_params(False)
        )
        self.feature_plan_ = self.info_.pop("feature_plan")
        return self


def _match(
    Xs: Array, Xt: Array, differs: Array | None, *, trade_off: float, max_iter: int
) -> tuple[Array, tuple[Trouble, ...], dict[str, Any]]:
    with heard() as said:
        plan, features, log = need("ot.coot", extra="transport").co_optimal_transport(
            _standard(Xs),
            _standard(Xt),
            # standardised entries differ by 2 on average (squared)
            alpha=(2.0 * trade_off, 0.0) if differs is not None else 0,
            M_samp=differs,
            nits_bcd=max_iter,
            nits_ot=1_000_000,
            tol_bcd=1e-9,
            early_stopping_tol=1e-9,
            log=True,
        )
    if not finite(plan) or not finite(features):
        raise DataError("no plan was found", where="CoOptimalTransport")
    rounds = len(log["distances"])
    troubles: tuple[Trouble, ...] = ()
    if rounds >= max_iter or said:
        reason = f"{rounds} rounds, {'; '.join(said) or 'the cost was still falling'}"
        troubles = (Trouble("not-converged", reason, "Raise max_iter"),)
    info = {"cost": float(log["distances"][-1]), "rounds": rounds, "feature_plan": features}
    return plan, troubles, info


def _standard(X: Array) -> Array:
    scale = X.std(axis=0)
    return np.asarray((X - X.mean(axis=0)) / np.where(scale > 0, scale, 1.0))
