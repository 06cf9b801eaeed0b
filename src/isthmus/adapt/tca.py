"""TCA: components on which the domain means agree (Pan, Tsang, Kwok and Yang 2011)."""

from __future__ import annotations

from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import aligned
from isthmus.types import Adaptation


class TCA(Adapter):
    """Transfer component analysis: most variance, least distance between the domain means.

    ``max tr(W' K H K W)`` subject to ``W' (K M K + trade_off I) W = I`` (Pan, Tsang, Kwok and
    Yang, *Domain adaptation via transfer component analysis*, IEEE TNN 22, 2011, eq. 9), with the
    MMD matrix M scaled to Frobenius norm 1. The matrix ``(K M K + trade_off I)^-1 K H K`` is not
    symmetric; it is solved as a symmetric-definite generalised problem.

    Parameters
    ----------
    n_components : int, default=20
        At most the rank of the data.
    trade_off : float, default=1.0
        Weight of the penalty (mu of the paper, lambda in later code).
    kernel : {'linear', 'primal', 'rbf'}, default='linear'
        ``linear`` penalises the coefficients of the rows (as in the paper), ``primal`` the
        weights of the features; both cost d x d, whatever the rows.
    gamma : float, optional
        Of the RBF kernel; default: the median heuristic.
    normalize : bool, default=False
        Rows of unit length before and after, as in the published tables. Otherwise rows are
        centred and given mean squared length 1, so that `trade_off` has the same meaning.
    solver : {'auto', 'exact', 'approximate'}, default='auto'
        Only the RBF kernel has an approximation: Nystroem features of `landmarks` rows.
    max_exact : int, default=5000
        Rows of both domains together up to which ``auto`` is exact.
    landmarks : int, optional
        Default: 2,000 up to 50,000 rows, then fewer (1,000 of 200,000). Where that is every row
        ``approximate`` is exact.
    random_state : int, default=0
        Draws the landmarks.

    Notes
    -----
    Cost: O(n d^2 + d^3); RBF: O(n^2) a step of the eigensolver. New target rows are projected
    through their kernel values against the training rows (or landmarks).
    """

    family = "feature"

    def __init__(
        self,
        n_components: int = 20,
        *,
        trade_off: float = 1.0,
        kernel: str = "linear",
        gamma: float | None = None,
        normalize: bool = False,
        solver: str = "auto",
        max_exact: int = 5000,
        landmarks: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_components, self.trade_off, self.kernel = n_components, trade_off, kernel
        self.gamma, self.normalize, self.solver = gamma, normalize, solver
        self.max_exact, self.landmarks, self.random_state = max_exact, landmarks, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="TCA")
        return aligned(given, max_iter=1, balance=None, who="TCA", **self.get_params())
