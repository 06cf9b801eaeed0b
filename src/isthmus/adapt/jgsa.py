"""JGSA: two coupled projections that bring domains and classes together (Zhang et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

import array_api_compat
import numpy as np

from isthmus.adapt import eigen, pseudo_labels
from isthmus.adapt.base import Adapter, Checked, check_domains
from isthmus.adapt.joint import positive
from isthmus.adapt.kernels import WIDE, Preparation, Projection, prepare
from isthmus.adapt.space import class_means, moments
from isthmus.errors import UsageError
from isthmus.types import Adaptation, Trouble


class JGSA(Adapter):
    """Joint geometrical and statistical alignment.

    Maximises the target's variance and the source's between-class scatter; keeps small the
    distance of the domain and class means (pseudo-labels), the source's within-class scatter and
    the distance of the two projections (Zhang, Li and Ogunbona, *Joint geometrical and
    statistical alignment for visual domain adaptation*, CVPR 2017, eq. 12).

    Parameters
    ----------
    n_components : int, default=30
    alpha : float, default=1.0
        Weight of the distance of the two projections.
    mu : float, default=1.0
        Weight of the target's variance.
    beta : float, default=0.1
        Weight of the source's class scatter.
    max_iter : int, default=10
        Rounds of pseudo-labels; fewer when they stop changing.
    normalize : bool, default=False
        Rows of unit length before, as in the published tables. Otherwise rows are centred and
        given mean squared length 1, so that the weights have the same meaning.
    solver : {'auto', 'exact', 'approximate'}, default='auto'
        How the nearest source row is found for pseudo-labels: among all, or in inverted lists.
    max_exact : int, default=5000
        Rows of both domains together up to which ``auto`` is exact.
    random_state : int, default=0
        Draws the groups of the inverted lists.

    Notes
    -----
    Cost: O(n d^2 + d^3) once (order 2d), then O(n_s n_t k) a round. Source and target have
    projections of their own; new target rows take the target's.
    """

    family = "feature"
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        n_components: int = 30,
        *,
        alpha: float = 1.0,
        mu: float = 1.0,
        beta: float = 0.1,
        max_iter: int = 10,
        normalize: bool = False,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.n_components, self.alpha, self.mu, self.beta = n_components, alpha, mu, beta
        self.max_iter, self.normalize, self.solver = max_iter, normalize, solver
        self.max_exact, self.random_state = max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, labels=True, who="JGSA")
        positive(
            "JGSA",
            n_components=self.n_components,
            alpha=self.alpha,
            mu=self.mu,
            max_iter=self.max_iter,
        )
        if not self.beta >= 0:
            raise UsageError(f"beta must not be negative, but is {self.beta}", where="JGSA")
        xp = given.xp
        before, S, T, turn = _span(given, normalize=self.normalize)
        gain, fixed = self._matrices(given, S, T)
        d, classes = int(S.shape[1]), len(given.classes)
        # with Q0 = L L' the constant part of the denominator, v = L' w turns the problem of each
        # round into one with few contrasts
        inverse = xp.linalg.inv(xp.linalg.cholesky(fixed))
        gain = inverse @ gain @ inverse.T
        gain = (gain + gain.T) / 2
        how: dict[str, Any] = {
            "solver": self.solver,
            "max_exact": self.max_exact,
            "random_state": self.random_state,
        }
        pseudo = pseudo_labels.nearest(xp, S, given.codes, T, **how)
        settled, start, count = False, None, 0
        while count < self.max_iter and not settled:
            count += 1
            G = _contrasts(xp, S, T, given.codes, pseudo, classes) @ inverse.T
            found = eigen.constrained(
                xp, lambda V: gain @ V, G, 1.0, min(self.n_components, 2 * d), start=start
            )
            start = found.vectors
            W = inverse.T @ found.vectors
            W = W / xp.linalg.vector_norm(W, axis=0)
            A, B = W[:d, :], W[d:, :]
            Zs, Zt = _product(xp, S, A), _product(xp, T, B)
            fresh = pseudo_labels.nearest(xp, Zs, given.codes, Zt, **how)
            settled = pseudo_labels.settled(
                fresh,
                pseudo,
                rows=int(S.shape[0] + T.shape[0]),
                solver=self.solver,
                max_exact=self.max_exact,
            )
            pseudo = fresh
        troubles: tuple[Trouble, ...] = () if found.trouble is None else (found.trouble,)
        info = {"components": int(W.shape[1]), "iterations": count, "labels_settled": settled}
        matrix = B if turn is None else turn @ B
        sign = eigen.signs(xp, matrix)
        dtype = given.Xs.dtype
        matrix = xp.astype(matrix * sign, dtype)
        return Adaptation(
            xp.astype(Zs, dtype) * xp.astype(sign, dtype),
            map_target=Projection(before.astype(dtype), None, matrix, False),
            troubles=troubles + pseudo_labels.missing(given.classes, pseudo),
            info=info,
        )

    def _matrices(self, given: Checked, S: Any, T: Any) -> tuple[Any, Any]:
        """Numerator P and the constant part of the denominator Q, (2d, 2d)."""
        xp, device = given.xp, array_api_compat.device(S)
        d, classes = int(S.shape[1]), len(given.classes)
        means, counts = class_means(xp, S, given.codes, classes)
        means = xp.astype(means, xp.float64)
        share = xp.asarray(counts, dtype=xp.float64, device=device)[:, None]
        centre = xp.astype(xp.mean(S, axis=0), xp.float64)
        between = (means - centre).T @ (share * (means - centre))
        within = moments(xp, S) - means.T @ (share * means)
        low = xp.astype(xp.mean(T, axis=0), xp.float64)
        variance = moments(xp, T) - T.shape[0] * (low[:, None] * low[None, :])
        eye = xp.eye(d, dtype=xp.float64, device=device)
        none = xp.zeros_like(eye)

        def blocks(a: Any, b: Any, c: Any) -> Any:
            return xp.concat([xp.concat([a, b], axis=1), xp.concat([b.T, c], axis=1)], axis=0)

        gain = blocks(self.beta * between, none, self.mu * variance)
        first = self.alpha * eye + self.beta * within
        last = (self.alpha + self.mu) * eye
        # the ridge of the authors' code, relative: alpha alone bounds `fixed` from below
        ridge = 1e-9 * float(xp.linalg.trace(first + last)) / (2 * d)
        fixed = blocks(first + ridge * eye, -self.alpha * eye, last + ridge * eye)
        return gain, fixed


def _span(given: Checked, *, normalize: bool) -> tuple[Preparation, Any, Any, Any]:
    """Prepared rows of both sides, in an orthonormal basis of their span when that is smaller."""
    xp, ns = given.xp, given.Xs.shape[0]
    X = xp.concat([given.Xs, given.Xt], axis=0)
    n, d = X.shape
    if n * d <= WIDE:
        X = xp.astype(X, xp.float64, copy=False)
    before = prepare(xp, X, normalize=normalize)
    X = before(X)
    if n >= d:
        return before, X[:ns], X[ns:], None
    turn, _ = xp.linalg.qr(X.T)
    X = X @ turn
    return before, X[:ns], X[ns:], turn


def _product(xp: Any, rows: Any, matrix: Any) -> Any:
    return rows @ xp.astype(matrix, rows.dtype)


def _contrasts(xp: Any, S: Any, T: Any, codes: np.ndarray, pseudo: np.ndarray, classes: int) -> Any:
    """Rows ``[mean_s, -mean_t]`` of the domains (weight C) and classes.

    Scaled by the Frobenius norm of the domains' part alone, as in the authors' code: by that of
    the whole the classes count less, and the published results are not met.
    """
    (ms, cs), (mt, ct) = (
        class_means(xp, rows, k, classes) for rows, k in ((S, codes), (T, pseudo))
    )
    both = np.flatnonzero((cs > 0) & (ct > 0))
    at = xp.asarray(both, device=array_api_compat.device(S))
    whole = xp.concat([xp.mean(S, axis=0), -xp.mean(T, axis=0)], axis=0)[None, :]
    rows = xp.concat([xp.take(ms, at, axis=0), -xp.take(mt, at, axis=0)], axis=1)
    size = classes * (1 / S.shape[0] + 1 / T.shape[0])
    return xp.astype(xp.concat([classes**0.5 * whole, rows], axis=0), xp.float64) / size**0.5
