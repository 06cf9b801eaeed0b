"""Layer 5: k nearest neighbours by blocks of exact distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from isthmus.errors import DataError, UsageError
from isthmus.fit.base import (
    BLOCK_BYTES,
    Stateful,
    check_weights,
    class_factors,
    encode_classes,
    require_shape,
    row_blocks,
    softmax,
)
from isthmus.fit.centroid import unit
from isthmus.fit.threads import calm
from isthmus.types import Array

CANDIDATES = (1, 3, 5, 9, 15, 25)
_SCORED = 5000  # rows on which k is chosen


class KNNHead(ClassifierMixin, Stateful):
    """Share of each class among the k nearest training rows.

    ``p_c = (votes_c + 1/K) / (k + 1)``: one vote is spread over the K classes, so no probability
    is zero. A training row of weight w is w rows at one place. Class weights f change this to
    ``p_c ~ f_c (votes_c + 1/K)``; which rows are neighbours is left alone.

    Parameters
    ----------
    n_neighbors : "cv" or int, default="cv"
        "cv" takes the k of 1, 3, 5, 9, 15, 25 with the smallest leave-one-out log-loss on at most
        5,000 training rows; with groups the whole group of a row is left out.
    metric : {"cosine", "euclidean"}, default="cosine"
    class_weight : None, "balanced" or dict, default=None
    random_state : int, default=0
        Seed of the draw of rows on which k is chosen.

    Attributes
    ----------
    classes_ : (K,)
    rows_, codes_, weights_, factors_ : training rows (unit length for cosine), their class codes,
        weights, and the factor per class
    k_ : int
    k_how_ : str
    oof_logits_, oof_rows_ : (n, K) float32 and (n,) bool, or None
    """

    _arrays = ("rows_", "codes_", "weights_", "factors_")
    _facts = ("k_", "k_how_")

    def __init__(
        self,
        n_neighbors: str | int = "cv",
        *,
        metric: str = "cosine",
        class_weight: Any = None,
        random_state: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.class_weight = class_weight
        self.random_state = random_state

    @calm
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> KNNHead:
        """Keep the rows; choose k.

        Raises
        ------
        DataError, UsageError
        """
        if self.metric not in ("euclidean", "cosine"):
            raise UsageError(f"metric={self.metric!r}", why="known: cosine, euclidean")
        X = self._check_X(X, reset=True)
        weights = check_weights(sample_weight, X)
        self.classes_, codes = encode_classes(y, len(X), weights)
        live = np.flatnonzero(weights > 0)
        self.rows_ = np.ascontiguousarray(self._place(X[live] if len(live) < len(X) else X[:]))
        self.codes_, self.weights_ = codes[live], weights[live]
        self.factors_ = class_factors(self.class_weight, self.classes_, self.codes_, self.weights_)
        self.k_, self.k_how_ = 1, "given"
        self.oof_logits_: Any = None
        self.oof_rows_: Any = None
        if self.n_neighbors == "cv":
            self._choose(len(X), live, groups)
        elif isinstance(self.n_neighbors, int | np.integer) and self.n_neighbors > 0:
            self.k_ = int(self.n_neighbors)
        else:
            raise UsageError(f"n_neighbors={self.n_neighbors!r}", why='"cv" or a count above 0')
        return self

    def logits(self, X: Any) -> Array:
        """(n, K) log shares."""
        X = self._check_X(X)
        out = np.empty((len(X), len(self.classes_)))
        for part in row_blocks(len(X), len(self.rows_) + X.shape[1]):
            distance = self._distances(self._place(X[part]))
            out[part] = self._vote(distance, [self.k_])[0][0]
        return out

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities in the order of `classes_`."""
        return softmax(self.logits(X))

    def predict(self, X: Any) -> Array:
        """(n,) labels; ties go to the class whose nearest row is nearest."""
        best = self.logits(X).argmax(axis=1)
        return self.classes_[best]

    def _place(self, X: Array) -> Array:
        """Rows as they are compared: float64 unit rows for cosine; input width otherwise."""
        wide = X.dtype == np.float64
        if self.metric == "cosine":
            X = unit(X.astype(np.float64))
        return X.astype(np.float64 if wide else np.float32, copy=False)

    def _distances(self, Q: Array) -> Array:
        """(m, n) squared distances; for unit rows 2 - 2 cos, the same order as cosine."""
        R = self.rows_
        out = np.empty((len(Q), len(R)))
        Q = Q.astype(np.float64)
        # Distances do not change under a shift; a near centre keeps the digits.
        centre = R[0].astype(np.float64)
        Q = Q - centre
        own = np.einsum("ij,ij->i", Q, Q)[:, None]
        step = max(1, BLOCK_BYTES // (8 * R.shape[1]))
        for start in range(0, len(R), step):
            block = R[start : start + step].astype(np.float64) - centre
            part = own + np.einsum("ij,ij->i", block, block) - 2 * (Q @ block.T)
            out[:, start : start + step] = np.maximum(part, 0.0)
        return out

    def _vote(
        self, distance: Array, ks: list[int], own: Array | None = None
    ) -> tuple[list[Array], Array]:
        """Log shares for every k, each (m, K), and (m,) bool: somebody voted.

        Infinite distances never vote. `own` (m,) names the training row that a query is: one copy
        of it is left out.
        """
        weights = self.weights_
        m, n = distance.shape
        K, most = len(self.classes_), max(ks) + (own is not None)
        # As many of the lightest rows as weigh `most` together can be needed, never more.
        needed = int(np.searchsorted(np.cumsum(np.sort(weights)), most - 1e-9)) + 1
        needed = min(needed, n)
        if needed < n:
            near = np.argpartition(distance, needed - 1, axis=1)[:, :needed]
        else:
            near = np.broadcast_to(np.arange(n), (m, n))
        far = np.take_along_axis(distance, near, axis=1)
        order = np.lexsort((near, far), axis=1)
        near, far = np.take_along_axis(near, order, axis=1), np.take_along_axis(far, order, axis=1)
        heavy = np.where(np.isfinite(far), weights[near], 0.0)
        if own is not None:
            heavy = heavy - np.minimum(heavy, 1.0) * (near == own[:, None])
        before = np.cumsum(heavy, axis=1) - heavy
        codes, out = self.codes_[near], []
        first = np.take_along_axis(codes, (heavy > 0).argmax(axis=1)[:, None], axis=1)
        row = np.arange(m)[:, None]
        for k in ks:
            votes = np.zeros((m, K))
            np.add.at(votes, (row, codes), np.clip(k - before, 0.0, heavy))
            # Equal votes: a hair for the nearer class, far below any real vote.
            hair = np.zeros((m, K))
            np.put_along_axis(hair, first, 1e-9, axis=1)
            share = self.factors_ * (votes + 1.0 / K + hair)
            out.append(np.log(share / share.sum(axis=1, keepdims=True)))
        return out, np.asarray(heavy.any(axis=1))

    def _choose(self, n: int, live: Array, groups: Any) -> None:
        """Leave-one-out: one copy of the row itself, or its whole group, does not vote."""
        count = len(live)
        rng = np.random.default_rng(self.random_state)
        scored = np.arange(count)
        if count > _SCORED:
            scored = np.sort(rng.choice(count, _SCORED, replace=False))
        group = None
        if groups is not None:
            groups = np.asarray(groups)
            if groups.shape != (n,):
                raise DataError(f"groups of shape {groups.shape} for {n} rows", where="groups")
            group = np.unique(groups[live].astype(str), return_inverse=True)[1]
        ks = [k for k in CANDIDATES if k <= max(1.0, self.weights_.sum() - 1)]
        losses, kept = np.zeros(len(ks)), np.zeros(len(scored), dtype=bool)
        logs = [np.zeros((len(scored), len(self.classes_)), dtype=np.float32) for _ in ks]
        for part in row_blocks(len(scored), count + self.rows_.shape[1]):
            mine = scored[part]
            distance = self._distances(self.rows_[mine])
            if group is not None:
                distance[group[mine][:, None] == group[None, :]] = np.inf
            shares, able = self._vote(distance, ks, mine if group is None else None)
            able &= self._class_mass_left(mine, group)
            kept[part] = able
            for i, votes in enumerate(shares):
                own = votes[np.arange(len(mine)), self.codes_[mine]]
                losses[i] -= float((self.weights_[mine] * own)[able].sum())
                logs[i][part] = votes
        if not kept.any():
            self.k_, self.k_how_ = 1, "no class is left when one of its rows or groups is left out"
            return
        best = int(np.argmin(losses))
        self.k_ = ks[best]
        what = "leave-one-out" if group is None else "leave-one-group-out"
        self.k_how_ = f"{what} log-loss on {int(kept.sum())} rows"
        self.oof_logits_ = np.zeros((n, len(self.classes_)), dtype=np.float32)
        self.oof_rows_ = np.zeros(n, dtype=bool)
        self.oof_logits_[live[scored]] = logs[best]
        self.oof_rows_[live[scored[kept]]] = True

    def _class_mass_left(self, mine: Array, group: Array | None) -> Array:
        """(m,) bool: is the row's class still there when the row, or its group, is left out?"""
        K, codes = len(self.classes_), self.codes_
        total = np.bincount(codes, self.weights_, minlength=K)[codes[mine]]
        if group is None:
            return total > np.minimum(self.weights_[mine], 1.0)
        cell = group * K + codes
        return total > np.bincount(cell, self.weights_)[cell[mine]] + 1e-12

    def _check_state(self) -> None:
        n = len(self.rows_)
        require_shape(self.rows_, (n, self.n_features_in_), "rows_")
        require_shape(self.codes_, (n,), "codes_")
        require_shape(self.weights_, (n,), "weights_")
        require_shape(self.factors_, (len(self.classes_),), "factors_")
        if not ((self.codes_ >= 0) & (self.codes_ < len(self.classes_))).all():
            raise ValueError("codes_ name classes that do not exist")
