"""MEDA: a classifier on the geodesic flow manifold with MMD and graph penalties (Wang 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import numpy as xnp
from scipy.linalg import lu_factor, lu_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt import pseudo_labels
from isthmus.adapt.base import check_domains
from isthmus.adapt.cosine_graph import laplacian
from isthmus.adapt.density import rbf
from isthmus.adapt.discriminability import balance
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.gfk import GFK
from isthmus.adapt.kernels import (
    BLOCK,
    FEW,
    Kernel,
    Preparation,
    Projection,
    landmarks_of,
    nystroem,
    unit_rows,
)
from isthmus.adapt.maps import Affine
from isthmus.adapt.space import class_means, mmd_norm, moments
from isthmus.data.domains import split_domains
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble


class MEDA(ClassifierMixin, BaseEstimator):
    """Manifold embedded distribution alignment: structural risk on aligned domains.

    Rows, centred on the mean of both domains, go through the geodesic flow kernel and get unit
    length; then ``f = K beta`` minimises
    ``sum_s |y - f|^2 + eta |f|_K^2 + trade_off tr(f' M f) + rho tr(f' L f)``, with M the balanced
    MMD matrix of pseudo-labels and L the Laplacian of the cosine neighbour graph (Wang, Feng,
    Chen, Yu, Huang and Yu, *Visual domain adaptation with manifold embedded distribution
    alignment*, ACM MM 2018, eq. 4 and 17).

    Parameters
    ----------
    n_components : int, default=20
        Dimension of the geodesic flow subspaces.
    trade_off : float, default=10.0
        Weight of the distribution alignment (lambda).
    rho : float, default=1.0
        Weight of the graph.
    eta : float, default=0.1
        Ridge.
    neighbors : int, default=10
    balance : float or 'auto', default='auto'
        Weight of the classes against the domains in M (mu), as in `BDA`.
    max_iter : int, default=10
        Rounds of pseudo-labels; fewer when they settle.
    solver : {'auto', 'exact', 'approximate'}, default='auto'
        Exact: an n x n system. Approximate: Nystroem features of `landmarks` rows, and a
        neighbour graph found within cells.
    max_exact : int, default=5000
        Rows of both domains together up to which ``auto`` is exact.
    landmarks : int, optional
        Default: 2,000 up to 12,500 rows, then fewer (500 of 200,000). Where that is every row
        ``approximate`` is exact.
    random_state : int, default=0

    Attributes
    ----------
    classes_ : ndarray
    labels_ : ndarray of shape (n_t,)
        Classes of the target rows of `fit`.
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    NumPy only. Cost: O(n^3) once when exact, then O(n^2 C) a round.
    """

    family: ClassVar[str] = "feature"
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        n_components: int = 20,
        *,
        trade_off: float = 10.0,
        rho: float = 1.0,
        eta: float = 0.1,
        neighbors: int = 10,
        balance: float | str = "auto",
        max_iter: int = 10,
        solver: str = "auto",
        max_exact: int = 5000,
        landmarks: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_components, self.trade_off, self.rho, self.eta = n_components, trade_off, rho, eta
        self.neighbors, self.balance, self.max_iter = neighbors, balance, max_iter
        self.solver, self.max_exact, self.landmarks = solver, max_exact, landmarks
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None) -> MEDA:
        """Fit on the rows of both domains.

        Parameters
        ----------
        X : array of shape (n, d)
        y : array of shape (n,)
            Read on source rows, and on target rows that `target_labeled` names.
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool, optional

        Raises
        ------
        DataError
            If a side is empty or a value is missing.
        UsageError
            If a parameter is out of its range.
        """
        if self.eta <= 0 or self.trade_off < 0 or self.rho < 0 or self.max_iter < 1:
            raise UsageError("eta must be positive, trade_off and rho not negative", where="MEDA")
        if not isinstance(self.balance, str) and not 0 <= self.balance <= 1:
            raise UsageError(f"balance must lie in [0, 1], not {self.balance}", where="MEDA")
        if isinstance(self.balance, str) and self.balance != "auto":
            raise UsageError(f"unknown balance {self.balance!r}", remedy="Use auto or 0 to 1")
        parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
        self.n_features_in_ = int(np.shape(parts.Xs)[1])
        given = check_domains(parts.Xs, parts.ys, parts.Xt, labels=True, who="MEDA")
        known = np.full(len(parts.Xt), -1)
        known[parts.labeled] = _codes(given.classes, parts.yt)
        self.classes_ = given.classes
        # rows get unit length below, so the origin matters: it is the mean of both domains
        X = np.concatenate([given.Xs, given.Xt])
        middle = X.mean(axis=0)
        X = X - middle
        root = GFK(self.n_components).adapt(X[: len(given.Xs)], None, X[len(given.Xs) :])
        flow = Affine(middle, root.map_target.matrix)  # type: ignore[attr-defined]
        Z = unit_rows(xnp, flow(np.concatenate([given.Xs, given.Xt])))
        codes, ns, n = given.codes, len(given.Xs), len(Z)
        count = landmarks_of(self.solver, n, self.max_exact, self.landmarks, few=FEW // 4)
        labelled = np.concatenate([np.ones(ns, dtype=bool), known >= 0])
        Y = np.zeros((n, len(self.classes_)))
        Y[labelled, np.concatenate([codes, known[known >= 0]])] = 1
        L = None
        if self.rho > 0:
            L = laplacian(
                Z, neighbors=self.neighbors, exact=count is None, random_state=self.random_state
            )
        if count is None:
            step, kernel = self._exact(Z, labelled, Y, L)
        else:
            step, kernel = self._nystroem(Z, labelled, Y, L, landmarks=count)
        pseudo = pseudo_labels.nearest(
            xnp,
            Z[:ns],
            codes,
            Z[ns:],
            solver=self.solver,
            max_exact=self.max_exact,
            random_state=self.random_state,
        )
        pseudo = np.where(known >= 0, known, pseudo)
        settled, rounds = False, 0
        while rounds < self.max_iter and not settled:
            rounds += 1
            share = self.balance
            if isinstance(share, str):
                share = balance(xnp, Z[:ns], codes, Z[ns:], pseudo)
            coefficients, scores = step(ns, codes, pseudo, float(share))
            fresh = np.where(known >= 0, known, scores.argmax(axis=1))
            settled = pseudo_labels.settled(
                fresh, pseudo, rows=n, solver=self.solver, max_exact=self.max_exact
            )
            pseudo = fresh
        unit = Preparation(None, 1.0, True)
        self._scores = FlowScores(flow, Projection(unit, kernel, coefficients, False))
        self.labels_ = self.classes_[pseudo]
        self.troubles_: tuple[Trouble, ...] = pseudo_labels.missing(self.classes_, pseudo)
        self.info_ = {
            "solver": "exact" if count is None else "nystroem",
            "iterations": rounds,
            "labels_settled": settled,
            "balance": float(share),
        }
        return self

    def _exact(self, Z: Array, labelled: Array, Y: Array, L: Any) -> tuple[Any, Kernel]:
        """One round = Woodbury on the factor of ``(E + rho L) K + eta I``."""
        kernel = Kernel(Z, 0.5)
        K = rbf(xnp, Z, Z, 0.5)
        system = np.where(labelled[:, None], K, 0)
        if L is not None:
            system += self.rho * (L @ K)
        system[np.diag_indices(len(Z))] += self.eta
        factor = lu_factor(system, overwrite_a=True)
        base = lu_solve(factor, Y)

        def step(ns: int, codes: Array, pseudo: Array, share: float) -> tuple[Array, Array]:
            E = mmd_rows(codes, pseudo, len(self.classes_), share)
            push = lu_solve(factor, E.T)
            EK = E @ K
            small = np.eye(len(E)) + self.trade_off * (EK @ push)
            beta = base - push @ np.linalg.solve(small, self.trade_off * (EK @ base))
            return beta, K[ns:] @ beta

        return step, kernel

    def _nystroem(
        self, Z: Array, labelled: Array, Y: Array, L: Any, *, landmarks: int
    ) -> tuple[Any, Kernel]:
        """The same problem on Nystroem features: one small symmetric system a round."""
        kernel = nystroem(xnp, Z, 0.5, landmarks=landmarks, random_state=self.random_state)
        F = kernel(Z)
        seen = F[labelled]
        base = moments(xnp, seen) + self.eta * np.eye(F.shape[1])
        if L is not None:
            L = L.astype(F.dtype)
            for at in range(0, len(F), BLOCK):  # L F as a whole is as large as F
                part = slice(at, at + BLOCK)
                base += self.rho * (F[part].T @ (L[part] @ F))
        right = seen.T @ Y[labelled]

        def step(ns: int, codes: Array, pseudo: Array, share: float) -> tuple[Array, Array]:
            G = mmd_means(F, ns, codes, pseudo, len(self.classes_), share)
            w = np.linalg.solve(base + self.trade_off * (G.T @ G), right)
            return w, F[ns:] @ w

        return step, kernel

    def served(self) -> FlowScores:
        """What alone predicts new target rows: the regression scores of the classes."""
        check_is_fitted(self)
        return self._scores

    def decision_function(self, X: Any) -> Array:
        """(n, C) regression scores of target rows; near 1 for the class, near 0 for others."""
        check_is_fitted(self)
        return np.asarray(self._scores(new_rows(self, X).astype(np.float64, copy=False)))

    def predict_proba(self, X: Any) -> Array:
        """(n, C) scores cut to [0, 1] and scaled to sum 1: a ranking, not calibrated."""
        scores = np.clip(self.decision_function(X), 1e-6, 1)
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])


@dataclass(frozen=True)
class FlowScores:
    """Target rows through the geodesic flow, then the kernel regression: (n, C) scores.

    Parameters
    ----------
    flow : Affine
    regression : Projection
    """

    flow: Any
    regression: Projection

    def __call__(self, rows: Any) -> Array:
        return np.asarray(self.regression(self.flow(rows)))


def mmd_rows(codes: Array, pseudo: Array, classes: int, share: float) -> Array:
    """(1 + classes, n) rows E with ``E'E`` the balanced MMD matrix, scaled to Frobenius norm 1.

    Classes that either side lacks have rows of zeros.
    """
    ns, nt = len(codes), len(pseudo)
    cs, ct = np.bincount(codes, minlength=classes), np.bincount(pseudo, minlength=classes)
    E = np.zeros((1 + classes, ns + nt))
    E[0, :ns], E[0, ns:] = 1 / ns, -1 / nt
    E[0] *= ((1 - share) * classes) ** 0.5
    both = np.flatnonzero((cs > 0) & (ct > 0))
    for c in both:
        E[1 + c, :ns][codes == c] = share**0.5 / cs[c]
        E[1 + c, ns:][pseudo == c] = -(share**0.5) / ct[c]
    counts = np.stack([cs[both], ct[both]])
    size = mmd_norm(ns, nt, counts, marginal=(1 - share) * classes, conditional=share)
    return np.asarray(E / size**0.5)


def mmd_means(F: Array, ns: int, codes: Array, pseudo: Array, classes: int, share: float) -> Array:
    """``E F`` of `mmd_rows` without forming E."""
    (ms, cs), (mt, ct) = (
        class_means(xnp, rows, k, classes) for rows, k in ((F[:ns], codes), (F[ns:], pseudo))
    )
    both = (cs > 0) & (ct > 0)
    size = mmd_norm(
        ns,
        len(F) - ns,
        np.stack([cs[both], ct[both]]),
        marginal=(1 - share) * classes,
        conditional=share,
    )
    whole = ((1 - share) * classes) ** 0.5 * (F[:ns].mean(axis=0) - F[ns:].mean(axis=0))
    parts = share**0.5 * np.where(both[:, None], ms - mt, 0)
    return np.asarray(np.concatenate([whole[None], parts]) / size**0.5)


def _codes(classes: Array, labels: Array) -> Array:
    """Positions of target labels among the source classes.

    Raises
    ------
    UsageError
        If a labelled target row has a class without source rows.
    """
    if not len(labels):
        return np.empty(0, dtype=np.int64)
    found = np.searchsorted(classes, labels)
    found = np.minimum(found, len(classes) - 1)
    new = np.unique(np.asarray(labels)[classes[found] != labels])
    if len(new):
        raise UsageError(
            f"labelled target rows have classes without source rows: {new[:5].tolist()}",
            where="MEDA",
            remedy="Use a method for open or unlike label sets",
        )
    return np.asarray(found)
