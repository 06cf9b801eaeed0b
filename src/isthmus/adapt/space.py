"""Layer 4: both domains in the span in which kernel methods look for components.

Three forms of one problem, chosen by kernel and size:

- ``primal``: components are ``X w``, the penalty is ``|w|^2``; d x d matrices.
- ``linear``: components are ``X X' a``, the penalty is ``|a|^2``, as the published results of
  TCA and JDA have it. With ``w = X' a`` this too is a d x d problem, so that rows cost nothing.
- ``rbf``: components are ``K a``, n x n up to `max_exact` rows; beyond, Nystroem features in the
  ``linear`` form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from isthmus.adapt import eigen
from isthmus.adapt.base import Checked
from isthmus.adapt.density import host, rbf
from isthmus.adapt.kernels import (
    BLOCK,
    LANDMARKS,
    WIDE,
    Kernel,
    Preparation,
    Projection,
    check_kernel,
    class_means,
    landmarks_of,
    median_gamma,
    nystroem,
    prepare,
    unit_rows,
)
from isthmus.errors import UsageError
from isthmus.types import Trouble

ROUGH = 0.25  # share of the kernel's spread that landmarks may miss without a word


@dataclass(frozen=True)
class Space:
    """Rows of both domains as features `F`, and coordinates of the components.

    Parameters
    ----------
    F : array of shape (n, f)
        Prepared rows, Nystroem features or the kernel matrix; source rows first.
    P : array of shape (f, r) or None
        Coordinates -> matrix on F; None (kernel matrix): the identity, or the inverse of
        `row_weights`.
    B : array of shape (r, r) or None
        Scatter of ``F P``; None where it is applied through the kernel matrix.
    inner : array of shape (f, r) or None
        Coordinates c -> coefficients of the rows ``a = D^-1 F inner c`` (TJM reads them).
    row_weights : array of shape (n,) or None
        Square root of D, the weights of the penalty on the rows' coefficients.
    second : array of shape (f, f) or None
        Second moments of `F`, kept for other weights.
    troubles : tuple of Trouble
        ``rough-kernel``, where landmarks miss much of what the kernel sees.
    """

    xp: ModuleType
    before: Preparation
    kernel: Kernel | None
    F: Any
    ns: int
    P: Any
    B: Any
    inner: Any
    row_weights: Any
    primal: bool
    dtype: Any
    solver: str
    second: Any = None
    troubles: tuple[Trouble, ...] = ()

    @property
    def order(self) -> int:
        """Number of coordinates."""
        return int(self.F.shape[1] if self.P is None else self.P.shape[1])

    def scatter(self, V: Any) -> Any:
        """``P' F' H F P V``: H centres over both domains."""
        if self.B is not None:
            return self.B @ V
        inside = self.F @ self._divided(V)
        return self._divided(self.F @ (inside - self.xp.mean(inside, axis=0)))

    def down(self, means: Any) -> Any:
        """Means of rows of `F`, (c, f) -> coordinates (c, r)."""
        means = self.xp.astype(means, self.xp.float64)
        return means @ self.P if self.P is not None else self._divided(means.T).T

    def matrix(self, vectors: Any) -> Any:
        """Coordinates (r, k) -> matrix on F (f, k)."""
        return self.P @ vectors if self.P is not None else self._divided(vectors)

    def _divided(self, V: Any) -> Any:
        return V if self.row_weights is None else V / self.row_weights[:, None]

    def coefficients(self, vectors: Any) -> Any:
        """(n, k) coefficients of the rows, a."""
        if self.inner is None:
            return self.matrix(vectors)
        out = self.F @ self.xp.astype(self.inner @ vectors, self.F.dtype)
        return self._divided(self._divided(out))

    def embed(self, vectors: Any, *, unit: bool) -> tuple[Any, Projection]:
        """(n, k) components of all rows, and the map that gives them for new rows.

        The rows get unit length, or one scale for all: mean squared length 1 about their mean,
        so that the penalty of a classifier means the same whatever the number of rows. Signs are
        settled by the row that a component moves most: coordinates have arbitrary ones.
        """
        xp = self.xp
        matrix = self.matrix(vectors)
        Z = self.F @ xp.astype(matrix, self.F.dtype)
        sign = eigen.signs(xp, Z)
        Z, matrix = Z * sign, matrix * xp.astype(sign, matrix.dtype)
        if unit:
            Z = unit_rows(xp, Z)
        else:
            size = float(xp.sum(xp.mean((Z - xp.mean(Z, axis=0)) ** 2, axis=0))) ** 0.5
            size = size if size > 0 else 1.0
            Z, matrix = Z / size, matrix / size
        before, kernel = self.before, self.kernel
        if kernel is not None and kernel.root is not None:
            # one matrix, multiplied in double precision: the root alone has large entries
            kernel, matrix = replace(kernel, root=None), kernel.root @ matrix
        cast = xp.astype(matrix, self.dtype)
        before = before.astype(self.dtype)
        if kernel is not None:
            kernel = replace(kernel, anchors=xp.astype(kernel.anchors, self.dtype))
        return xp.astype(Z, self.dtype), Projection(before, kernel, cast, unit)

    def weighted(self, weights: Any) -> Space:
        """The same space with the penalty ``sum_i weights_i |a_i|^2`` (kernel forms only)."""
        changed = replace(self, row_weights=self.xp.sqrt(weights))
        return changed if self.P is None else coordinates(changed)


def build(
    given: Checked,
    *,
    kernel: str,
    gamma: float | None,
    normalize: bool,
    solver: str,
    max_exact: int,
    landmarks: int | None,
    random_state: int,
    who: str,
    most: int = LANDMARKS,
) -> Space:
    """The space of a pair of domains.

    Parameters
    ----------
    landmarks : int or None
        None = by size, at most `most`; where that is every row the kernel is exact.

    Raises
    ------
    UsageError
        If a parameter has no meaning.
    """
    check_kernel(kernel)
    if gamma is not None and not gamma > 0:
        raise UsageError(f"gamma must be positive, not {gamma}", where=who)
    xp, ns = given.xp, int(given.Xs.shape[0])
    n = ns + int(given.Xt.shape[0])
    count = landmarks_of(solver, n, max_exact, landmarks, most=most)
    X = xp.concat([given.Xs, given.Xt], axis=0)
    dtype = X.dtype
    if n * X.shape[1] <= WIDE:
        X = xp.astype(X, xp.float64, copy=False)
    before = prepare(xp, X, normalize=normalize)
    X = before(X)
    space = Space(xp, before, None, X, ns, None, None, None, None, False, dtype, "exact")
    if kernel != "rbf":
        return coordinates(replace(space, primal=kernel == "primal"))
    # a given bandwidth is in the unit of the features
    width = (
        median_gamma(xp, X, random_state=random_state) if gamma is None else gamma * before.scale**2
    )
    if count is None:
        return replace(space, kernel=Kernel(X, width), F=rbf(xp, X, X, width))
    features = nystroem(xp, X, width, landmarks=count, random_state=random_state)
    F = features(X)
    second = moments(xp, F)
    rough = roughness(xp, F, second, count)
    return coordinates(
        replace(space, kernel=features, F=F, solver="nystroem", second=second, troubles=rough)
    )


def roughness(xp: Any, F: Any, second: Any, landmarks: int) -> tuple[Trouble, ...]:
    """Whether Nystroem features `F` leave out much of the kernel's spread.

    An RBF kernel is 1 of a row with itself, so that what a row's features lack to length 1 is
    what the landmarks do not explain of it; the spread about the mean is ``1 - |mean|^2``. With a
    fifth left out on digits TCA and JDA moved by 0.3 and 2.5 points, with 44 to 64 % on bags of
    words by up to 3.7.
    """
    lacking = max(0.0, 1 - float(xp.linalg.trace(second)) / int(F.shape[0]))
    middle = xp.astype(xp.mean(F, axis=0), xp.float64)
    spread = 1 - float(xp.sum(middle * middle))
    lost = lacking / spread if spread > 1e-12 else 0.0
    if lost <= ROUGH:
        return ()
    reason = f"{landmarks} landmarks explain {100 * (1 - lost):.0f} % of the kernel's spread"
    remedy = "Use kernel='linear', more landmarks, or solver='exact' if memory allows n x n"
    return (Trouble("rough-kernel", reason, remedy),)


def coordinates(space: Space) -> Space:
    """`space` with P, inner and B: an orthonormal basis of the span of its rows.

    With ``F' D^-1 F = V s^2 V'`` a component ``F w``, ``w = V s c``, has the penalty ``|c|^2``
    (dual forms), or ``w = V c`` (primal form). Directions without variance are left out.
    """
    xp, F, weights = space.xp, space.F, space.row_weights
    n, f = F.shape
    eps = float(xp.finfo(xp.float64).eps) * max(n, f)
    second = space.second
    if f <= n:
        second = moments(xp, F) if second is None else second
        values, V = xp.linalg.eigh(second if weights is None else moments(xp, F, weights))
        s, direction = _positive(xp, values, V, eps)
    else:
        scaled = xp.astype(F if weights is None else F / weights[:, None], xp.float64)
        values, U = xp.linalg.eigh(scaled @ scaled.T)
        s, U = _positive(xp, values, U, eps)
        direction = (scaled.T @ U) / xp.where(s > 0, s, xp.ones_like(s))
    P = direction if space.primal else direction * s
    inner = direction / xp.where(s > 0, s, xp.ones_like(s))
    if f > n:
        half = moments(xp, F @ xp.astype(P, F.dtype))
    else:
        half = P.T @ second @ P
    low = xp.astype(xp.mean(F, axis=0), xp.float64) @ P
    B = half - n * (low[:, None] * low[None, :])
    return replace(space, P=P, inner=inner, B=(B + B.T) / 2, second=second)


def moments(xp: Any, F: Any, weights: Any = None) -> Any:
    """(f, f) second moments ``F' D^-1 F`` in double precision, block by block.

    Parameters
    ----------
    weights : array of shape (n,), optional
        Square root of D.
    """
    out = xp.zeros((F.shape[1], F.shape[1]), dtype=xp.float64, device=array_api_compat.device(F))
    for at in range(0, F.shape[0], BLOCK):
        part = xp.astype(F[at : at + BLOCK], xp.float64)
        if weights is not None:
            part = part / weights[at : at + BLOCK, None]
        out = out + part.T @ part
    return out


def contrasts(
    space: Space,
    codes: np.ndarray,
    pseudo: np.ndarray | None,
    classes: int,
    *,
    marginal: float,
    conditional: float,
) -> Any:
    """G with ``G'G`` = the MMD matrix in coordinates, scaled to Frobenius norm 1.

    ``M = marginal * M_0 + conditional * sum_c M_c`` (Long et al. 2013, eq. 5 and 8); M_0 compares
    the domain means, M_c the means of class c. Classes that either side lacks are left out.

    Parameters
    ----------
    codes : ndarray of shape (n_s,)
    pseudo : ndarray of shape (n_t,) or None
        Class of each target row; None = the marginal part alone.
    """
    xp, ns = space.xp, space.ns
    nt = int(space.F.shape[0]) - ns
    source, target = space.F[:ns], space.F[ns:]
    gap = (xp.mean(source, axis=0) - xp.mean(target, axis=0))[None, :]
    rows, both, counts = [marginal**0.5 * gap], np.empty(0, dtype=np.int64), np.zeros((2, 0))
    if pseudo is not None and conditional > 0:
        ms, cs = class_means(xp, source, codes, classes)
        mt, ct = class_means(xp, target, pseudo, classes)
        both = np.flatnonzero((cs > 0) & (ct > 0))
        counts = np.stack([cs[both], ct[both]])
        if len(both):
            at = xp.asarray(both, device=array_api_compat.device(source))
            rows.append(conditional**0.5 * (xp.take(ms, at, axis=0) - xp.take(mt, at, axis=0)))
    size = mmd_norm(ns, nt, counts, marginal=marginal, conditional=conditional)
    return space.down(xp.concat(rows, axis=0)) / size**0.5


def mmd_norm(ns: int, nt: int, counts: np.ndarray, *, marginal: float, conditional: float) -> float:
    """Frobenius norm of ``marginal * M_0 + conditional * sum_c M_c``.

    M is a sum of outer products of few vectors, so its norm is that of their Gram matrix: the
    vectors of two classes have no row in common, that of a class and that of the domains have
    the inner product ``1 / n_s + 1 / n_t``.

    Parameters
    ----------
    counts : ndarray of shape (2, c)
        Source and target rows of each class that both sides have.
    """
    c = counts.shape[1]
    gram = np.zeros((1 + c, 1 + c))
    gram[0, 0] = marginal * (1 / ns + 1 / nt)
    gram[0, 1:] = gram[1:, 0] = (marginal * conditional) ** 0.5 * (1 / ns + 1 / nt)
    gram[range(1, 1 + c), range(1, 1 + c)] = conditional * (1 / counts).sum(axis=0)
    return float(np.linalg.norm(gram)) or 1.0


def solve(space: Space, G: Any, *, trade_off: float, k: int, start: Any = None) -> eigen.Eigen:
    """Leading components under ``trade_off |coordinates|^2 + |G coordinates|^2``."""
    return eigen.constrained(
        space.xp, space.scatter, G, trade_off, min(k, space.order), start=start
    )


def _positive(xp: Any, values: Any, vectors: Any, eps: float) -> tuple[Any, Any]:
    """Square roots of the eigenvalues above the noise, largest first (at least one)."""
    top = max(float(values[-1]), 0.0)
    kept = max(int(np.sum(host(values) > top * eps)), 1) if top > 0 else 1
    order = values.shape[0]
    picked = xp.flip(xp.arange(order - kept, order, device=array_api_compat.device(values)))
    values = xp.take(values, picked)
    root = xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
    return root, xp.take(vectors, picked, axis=1)
