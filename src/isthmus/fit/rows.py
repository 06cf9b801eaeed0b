"""Layer 5: centred rows in blocks, with the basis in which a linear model's loss is nearly round.

A penalised linear model without a penalty on its intercept does not care about centring, and a
squared penalty does not care about rotation. So the solver may work on ``(X - mean) V`` with V the
eigenvectors of the covariance: there its curvature is close to diagonal [1]_. V is applied to the
coefficients, not to the data, so X may be a memory map that is read block by block.

References
----------
.. [1] Böhning, "Multinomial logistic regression algorithm", 1992: the Hessian is bounded by
   ``1/2 (I - 11'/K) (x) X'X``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from isthmus.fit.base import row_blocks
from isthmus.types import Array

EXACT_UP_TO = 4096  # larger bases are not worth their eigendecomposition
WORK_BYTES = 256 << 20  # a float32 working copy is kept up to this size
_SMALL = 4_000_000  # up to this many numbers everything is done in float64


def weighted_mean(X: Array, weights: Array) -> Array:
    """(d,) float64 mean of the rows, block by block."""
    n, d = X.shape
    total = np.zeros(d)
    # The first row is subtracted first, so a large common offset costs no digits.
    shift = X[0].astype(np.float64)
    for part in row_blocks(n, d):
        total += weights[part] @ (X[part].astype(np.float64) - shift)
    return shift + total / weights.sum()


def scatter(X: Array, mean: Array, weights: Array, dtype: Any = np.float64) -> Array:
    """(d, d) float64 ``sum_i w_i (x_i - mean)(x_i - mean)'``; blocks are multiplied in `dtype`."""
    n, d = X.shape
    out = np.zeros((d, d))
    for part in row_blocks(n, d):
        block = centred(X[part], mean, dtype)
        block *= np.sqrt(weights[part]).astype(dtype)[:, None]
        out += block.T @ block
    return out


def centred(block: Array, mean: Array, dtype: Any) -> Array:
    """A fresh ``block - mean``; the difference is taken in the wider type of the two."""
    if block.dtype == np.float64 or dtype == np.float64:
        return (block.astype(np.float64) - mean).astype(dtype, copy=False)
    out = block.astype(np.float32)  # float32 data: the mean is split so that no digit is lost
    high = mean.astype(np.float32)
    out -= high
    out -= (mean - high).astype(np.float32)
    return out


class Rows:
    """n rows of d features as r coordinates ``z = (x - mean) V``.

    Parameters
    ----------
    X : (n, d) float array or memory map
        Never copied as a whole, except into a float32 working copy of at most 256 MB.
    weights : (n,) float64
    basis : bool, default=True
        False: no V for tall data (``z = x - mean``), `spectrum` is not computed.

    Attributes
    ----------
    r : int
        Number of coordinates: at most min(n, d).
    spectrum : (r,) float64
        Mean square of each coordinate (estimated on a stride of the rows where they are many;
        it only steers the solver's steps, never its answer).
    total : float
        Mean squared distance of a row to the mean: the scale of the features.
    """

    def __init__(self, X: Array, weights: Array, *, basis: bool = True) -> None:
        self.X, self.weights = X, weights
        self.n, self.d = X.shape
        self.mean = weighted_mean(X, weights)
        self.small = self.n * min(self.n, self.d) <= _SMALL
        self._work: Array | None = None
        self._Z: Array | None = None
        self._V: Array | None = None
        self._back: Array | None = None
        if self.n <= self.d and self.n <= EXACT_UP_TO:
            self._wide()
        else:
            self._tall(basis)
        self.r = len(self.spectrum)

    def _wide(self) -> None:
        """Fewer rows than features: the coordinates are explicit, Z = E S of X = E S V'."""
        gram = np.zeros((self.n, self.n))
        step = max(1, (32 << 20) // (8 * self.n))
        for start in range(0, self.d, step):
            cols = slice(start, start + step)
            block = self.X[:, cols].astype(np.float64) - self.mean[cols]
            gram += block @ block.T
        values, E = np.linalg.eigh(gram)
        keep = values > max(values[-1], 0.0) * 1e-13
        values, E = values[keep][::-1], E[:, keep][:, ::-1]
        S = np.sqrt(values)
        self._Z = np.ascontiguousarray(E * S)
        self._back = E / S if len(S) else E
        share = self.weights / self.weights.sum()
        self.spectrum = share @ self._Z**2
        self.total = float(self.spectrum.sum())

    def _tall(self, basis: bool) -> None:
        """More rows than features: X stays where it is and V (d, d) turns the coefficients."""
        wanted = max(16384, 8 * self.d)
        stride = max(1, self.n // wanted)
        some, weights = self.X[::stride], self.weights[::stride]
        if not weights.any():
            some, weights, stride = self.X, self.weights, 1
        if basis and self.d <= EXACT_UP_TO:
            values, V = np.linalg.eigh(
                scatter(some, self.mean, weights, np.float64 if self.small else np.float32)
                / weights.sum()
            )
            self._V = np.ascontiguousarray(V)
            self.spectrum = np.maximum(values, 0.0)
        else:
            square = np.zeros(self.d)
            for part in row_blocks(len(some), self.d):
                square += weights[part] @ centred(some[part], self.mean, np.float64) ** 2
            self.spectrum = square / weights.sum()
        self.total = float(self.spectrum.sum())

    def explicit(self) -> Array:
        """(n, r) coordinates of all rows, float64; for small data."""
        if self._Z is not None:
            return self._Z
        rows = centred(self.X[:], self.mean, np.float64)
        return rows if self._V is None else np.asarray(rows @ self._V)

    def blocks(
        self, dtype: Any, width: int, which: Array | None = None
    ) -> Iterator[tuple[slice, Array]]:
        """Yield (slice, block) with blocks sized for `width` more numbers a row.

        All problems see the same rows, so it does not matter `which` ones ask.
        """
        source = self._Z
        if source is not None and dtype == np.float32:
            if self._work is None:
                self._work = source.astype(np.float32)
            source = self._work
        elif source is None and (self.small or dtype == np.float32):
            if self._work is None or self._work.dtype != dtype:
                self._work = self._copy(dtype)
            source = self._work
        columns = self.d if source is None else source.shape[1]
        most = max(256, (8 << 20) // (4 * max(width, 1)))
        for part in row_blocks(self.n, columns + 4 * width, itemsize=4, most=min(most, 8192)):
            if source is None:
                yield part, centred(self.X[part], self.mean, dtype)
            else:
                yield part, source[part].astype(dtype, copy=False)

    def _copy(self, dtype: Any) -> Array | None:
        """All rows, centred; None where they would take too much."""
        if self.n * self.d * np.dtype(dtype).itemsize > WORK_BYTES:
            return None
        out = np.empty((self.n, self.d), dtype=dtype)
        for part in row_blocks(self.n, self.d):
            out[part] = centred(self.X[part], self.mean, dtype)
        return out

    def push(self, U: Array) -> Array:
        """Coordinates (q, r) of coefficients -> what multiplies the blocks."""
        return U if self._V is None else U @ self._V.T.astype(U.dtype, copy=False)

    def pull(self, G: Array) -> Array:
        """Transpose of `push`: gradients from block space back to coordinates."""
        return G if self._V is None else G @ self._V.astype(G.dtype, copy=False)

    def coef(self, U: Array) -> Array:
        """Coordinates (q, r) -> coefficients (q, d) on the caller's features, float64."""
        U = np.asarray(U, dtype=np.float64)
        if self._back is None:
            return np.ascontiguousarray(self.push(U))
        A = U @ self._back.T
        out = np.empty((len(U), self.d))
        step = max(1, (32 << 20) // (8 * self.n))
        for start in range(0, self.d, step):
            cols = slice(start, start + step)
            out[:, cols] = A @ (self.X[:, cols].astype(np.float64) - self.mean[cols])
        return out

    def carry(self, theta: Array, other: Rows) -> Array | None:
        """Solution (K, r + 1) found on `other` rows of the same features, in these coordinates.

        None where these are the explicit coordinates of few rows.
        """
        if self._back is not None:
            return None
        W = other.coef(theta[:, :-1])
        intercept = theta[:, -1] + W @ (self.mean - other.mean)
        return np.column_stack([self.pull(W), intercept])

    def release(self) -> None:
        """Let go of the working copy."""
        self._work = None


class RowsEach:
    """The same n rows as P problems see them, each in coordinates of its own; held in memory.

    Parameters
    ----------
    parts : sequence of Rows
        One a problem, of equally many rows; narrower ones are filled up with zeros.

    Attributes
    ----------
    spectrum : (P, r) float64
    """

    small = True

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.n, self.r = parts[0].n, max(part.r for part in parts)
        self._Z = np.zeros((len(parts), self.n, self.r))
        self.spectrum = np.zeros((len(parts), self.r))
        for p, part in enumerate(parts):
            self._Z[p, :, : part.r] = part.explicit()
            self.spectrum[p, : part.r] = part.spectrum

    def blocks(
        self, dtype: Any, width: int, which: Array | None = None
    ) -> Iterator[tuple[slice, Array]]:
        """Yield one (slice, (A, n, r) block) of the problems that ask."""
        Z = self._Z if which is None or len(which) == len(self._Z) else self._Z[which]
        yield slice(0, self.n), Z.astype(dtype, copy=False)

    def push(self, U: Array) -> Array:
        """As for `Rows`: the coordinates are explicit."""
        return U

    def pull(self, G: Array) -> Array:
        """As for `Rows`: the coordinates are explicit."""
        return G
