"""Label propagation on the joint neighbour graph of source and target (Zhou et al. 2004)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.density import approximate, probes
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.fitted_forms import NeighborShares
from isthmus.adapt.neighbor_graph import (
    Neighbors,
    joint_graph,
    list_count,
    nearest,
    nearest_in_lists,
    propagate,
)
from isthmus.adapt.sides import codes_of, sides, two_classes
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble

WHO = "RelationalPropagation"


class RelationalPropagation(ClassifierMixin, BaseEstimator):
    """Labels of the source spread over the neighbour graph of both domains.

    ``F = (1 - alpha) (I - alpha S)^-1 Y`` with ``S = D^-1/2 W D^-1/2`` and W the affinities of
    nearest neighbours (Zhou, Bousquet, Lal, Weston and Schoelkopf, *Learning with local and global
    consistency*, NeurIPS 2004). Each row is joined to its neighbours in its own domain, each
    target row also to its nearest source rows; edges are scaled by the distance of the farthest
    neighbour (Zelnik-Manor and Perona, *Self-tuning spectral clustering*, NeurIPS 2004), those
    between the domains on their own, so that a gap does not cut the target off.

    Parameters
    ----------
    n_neighbors : int, default=10
        Within a domain.
    n_cross : int, default=5
        Source rows that each target row is joined to; 0 leaves the domains apart.
    alpha : float, default=0.8
        Share that neighbours have in a row's label, below 1. (0.99 in the paper smooths real
        features of many dimensions to one class, see docs/log.md; it suits clean clusters.)
    balance : bool, default=True
        Scale what reached the target so that each class has its share of the source rows (class
        mass normalisation: Zhu, Ghahramani and Lafferty, ICML 2003); wrong under label shift.
    tol : float, default=1e-6
        Relative residual of the conjugate gradients.
    max_iter : int, default=1000
    solver : {"auto", "exact", "approximate"}, default="auto"
        Neighbours by brute force in blocks, or by inverted lists: rows are grouped around 2
        sqrt(n) centres and sought in the `n_probe` nearest groups; "auto" = by size.
    n_probe : int, optional
        Default: 8, and more where rows are few; where all groups may be looked into the search is
        exact.
    max_exact : int, default=10_000
        Rows of a domain up to which "auto" is exact.
    random_state : int, default=0
        Seed of the groups; they depend on the values, not on the order of the rows.

    Attributes
    ----------
    classes_ : ndarray
    shares_ : ndarray of shape (n_t, K)
        What reached each target row, rows sum to 1.
    labels_ : ndarray of shape (n_t,)
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    Labelled target rows are seeds as source rows are. New rows get the mean of their nearest
    target rows, weighted as the edges are (a row that was in the fit, its own share). Features
    should be of comparable scale. Cost: neighbours O(n^2 d), or O(n sqrt(n) n_probe d); a step of
    the solver O(n n_neighbors K).
    """

    family: ClassVar[str] = "relation"
    needs_labels: ClassVar[bool] = True
    numpy_only = "SciPy's sparse matrices"

    def __init__(
        self,
        n_neighbors: int = 10,
        *,
        n_cross: int = 5,
        alpha: float = 0.8,
        balance: bool = True,
        tol: float = 1e-6,
        max_iter: int = 1000,
        solver: str = "auto",
        n_probe: int | None = None,
        max_exact: int = 10_000,
        random_state: int = 0,
    ) -> None:
        self.n_neighbors, self.n_cross, self.alpha, self.tol = n_neighbors, n_cross, alpha, tol
        self.balance, self.max_iter = balance, max_iter
        self.solver, self.n_probe = solver, n_probe
        self.max_exact, self.random_state = max_exact, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> RelationalPropagation:
        """Fit on stacked domains.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, or the source has one class.
        UsageError
            If a parameter cannot be used.
        """
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha={self.alpha}", where=WHO, why="0 < alpha < 1 is needed")
        for name, least in (("n_neighbors", 1), ("n_cross", 0), ("n_probe", 1), ("max_iter", 1)):
            given = getattr(self, name)
            if given is not None and given < least:
                raise UsageError(f"{name}={getattr(self, name)}", why=f"{least} or more is needed")
        rows = sides(X, y, sample_domain, target_labeled, who=WHO, labels_needed=False)
        self.classes_, codes = two_classes(rows.ys, WHO)
        known = codes_of(rows.yt, self.classes_, WHO)
        ns, nt, K = len(rows.Xs), len(rows.Xt), len(self.classes_)
        most = max(ns, nt)
        self._lists = approximate(self.solver, most, self.max_exact)
        if self.n_probe is None:
            count = list_count(most)
            self._probe = probes(most, most, count, rows.Xs.shape[1], least=8)
            self._lists = self._lists and self._probe < count
        else:
            self._probe = self.n_probe
        W = joint_graph(
            self._look(rows.Xs, rows.Xs, self.n_neighbors, same=True),
            self._look(rows.Xt, rows.Xt, self.n_neighbors, same=True),
            self._look(rows.Xt, rows.Xs, self.n_cross),
            (ns, nt),
        )
        seeds = np.zeros((ns + nt, K))
        seeds[np.arange(ns), codes] = 1.0
        seeds[ns + np.flatnonzero(rows.labeled), known] = 1.0
        F, residual, steps = propagate(W, seeds, self.alpha, tol=self.tol, max_iter=self.max_iter)
        target = np.maximum(F[ns:], 0.0)  # rounding leaves -1e-20 where nothing arrives
        prior = np.bincount(codes, minlength=K) / ns
        if self.balance:
            arrived = target.sum(axis=0)
            target = target * np.divide(prior, arrived, out=np.zeros(K), where=arrived > 0)
        mass = target.sum(axis=1, keepdims=True)
        shares = np.where(mass > 1e-300, target / np.maximum(mass, 1e-300), prior)
        troubles: tuple[Trouble, ...] = ()
        if lost := int((mass <= 1e-300).sum()):
            reason = f"no label reaches {lost} of {nt} target rows: they get the source's shares"
            troubles += (Trouble("unreached", reason, "Raise n_cross or n_neighbors"),)
        if residual > self.tol:
            reason = f"residual {residual:.2g} after {steps} steps"
            troubles += (Trouble("not-converged", reason, "Raise max_iter, or a smaller alpha"),)
        self._rows, self.shares_ = rows.Xt, shares
        self.labels_ = self.classes_[shares.argmax(axis=1)]
        self.troubles_ = troubles
        self.info_ = {
            "solver": "approximate: inverted lists" if self._lists else "exact",
            "edges": int(W.nnz // 2),
            "iterations": steps,
            "residual": residual,
        }
        self.n_features_in_ = rows.Xt.shape[1]
        return self

    def _look(self, queries: Array, points: Array, k: int, *, same: bool = False) -> Neighbors:
        if k < 1 or len(points) <= same:
            return Neighbors(
                np.empty((len(queries), 0), dtype=np.int64), np.empty((len(queries), 0))
            )
        if self._lists:
            return nearest_in_lists(
                queries, points, k, n_probe=self._probe, seed=self.random_state, same=same
            )
        return nearest(queries, points, k, same=same)

    def served(self) -> NeighborShares:
        """The target rows of the fit with their class shares, as a value (it holds these rows)."""
        check_is_fitted(self)
        return NeighborShares(
            self._rows,
            self.shares_,
            self.n_neighbors,
            bool(self._lists),
            self._probe,
            self.random_state,
        )

    def predict_proba(self, X: Any) -> Array:
        """(n, K) for target rows, columns as in `classes_`."""
        return self.served().proba(new_rows(self, X))

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
