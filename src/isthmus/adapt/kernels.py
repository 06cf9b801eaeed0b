"""Layer 4: kernels, their bandwidth, feature maps, and the maps for new rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import array_api_compat
import numpy as np

from isthmus.adapt.density import (
    SAMPLE,
    approximate,
    draw,
    host,
    rbf,
    sorting,
    squared_distances,
    take,
)
from isthmus.errors import UsageError

BLOCK = 4096
LLOYD = 20_000  # rows that landmarks are settled on
WHOLE = 4000  # rows up to which all of them are landmarks, where the user leaves it open
LANDMARKS = 2000  # for more rows
FEW = 50_000  # rows up to which there are so many
WIDE = 128_000_000  # numbers that are kept in double precision without a thought for memory


def unit_rows(xp: Any, rows: Any) -> Any:
    """Rows of length 1; a row of zeros stays one."""
    length = xp.linalg.vector_norm(rows, axis=1, keepdims=True)
    return rows / xp.where(length > 0, length, xp.ones_like(length))


def median_gamma(xp: Any, X: Any, *, random_state: int = 0) -> float:
    """Median heuristic: 1 / (median of the squared distances between distinct rows).

    At most `SAMPLE` rows are compared, drawn by value so that their order cannot matter. All rows
    equal: 1.
    """
    some = X
    if X.shape[0] > SAMPLE:
        some = take(xp, X, sorting(X)[draw(X.shape[0], SAMPLE, random_state)])
    apart = host(squared_distances(xp, some, some))
    apart = apart[np.triu_indices(apart.shape[0], 1)]
    apart = apart[apart > 1e-12 * float(np.max(apart, initial=0.0))]
    return 1.0 / float(np.median(apart)) if len(apart) else 1.0


@dataclass(frozen=True)
class Preparation:
    """What is done to rows before the kernel: centre and one scale for all, or unit length.

    Parameters
    ----------
    centre : array of shape (d,) or None
    scale : float
    unit : bool
    """

    centre: Any
    scale: float
    unit: bool

    def __call__(self, rows: Any) -> Any:
        xp = array_api_compat.array_namespace(rows)
        if self.unit:
            return unit_rows(xp, rows)
        return (rows - self.centre) / self.scale

    def astype(self, dtype: Any) -> Preparation:
        """The same in another precision."""
        if self.centre is None:
            return self
        xp = array_api_compat.array_namespace(self.centre)
        return replace(self, centre=xp.astype(self.centre, dtype))


def prepare(xp: Any, X: Any, *, normalize: bool) -> Preparation:
    """Unit rows (`normalize`), or centred rows of mean squared length 1.

    Either way the trade-off of a method has the same meaning whatever the unit of the features.
    """
    if normalize:
        return Preparation(None, 1.0, True)
    centre = xp.mean(X, axis=0)
    scale = float(xp.sqrt(xp.sum(xp.mean((X - centre) ** 2, axis=0))))
    # rows that are all equal have rounding noise for a spread
    noise = 8 * float(xp.finfo(X.dtype).eps) * float(xp.max(xp.abs(X))) * X.shape[1] ** 0.5
    return Preparation(centre, scale if scale > noise else 1.0, False)


@dataclass(frozen=True)
class Kernel:
    """RBF features against anchors: ``k(rows, anchors) @ root`` (no root: the kernel itself).

    Parameters
    ----------
    anchors : array of shape (m, d)
    gamma : float
    root : array of shape (m, r) or None
        Nystroem: ``k(anchors, anchors)^(-1/2)``, so that inner products are kernel values.
    """

    anchors: Any
    gamma: float
    root: Any = None

    def __call__(self, rows: Any) -> Any:
        xp = array_api_compat.array_namespace(rows)
        if rows.shape[0] <= BLOCK:
            return self._block(xp, rows)
        width = self.anchors.shape[0] if self.root is None else self.root.shape[1]
        # features of many rows are kept in single precision; each block is computed in double
        dtype = rows.dtype if rows.shape[0] * width <= WIDE else xp.float32
        out = xp.zeros((rows.shape[0], width), dtype=dtype, device=array_api_compat.device(rows))
        for at in range(0, rows.shape[0], BLOCK):
            part = self._block(xp, rows[at : at + BLOCK])
            out[at : at + BLOCK, :] = xp.astype(part, dtype, copy=False)
        return out

    def _block(self, xp: Any, rows: Any) -> Any:
        rows = xp.astype(rows, self.anchors.dtype, copy=False)
        part = rbf(xp, rows, self.anchors, self.gamma)
        return part if self.root is None else part @ self.root


def class_means(xp: Any, rows: Any, codes: np.ndarray, classes: int) -> tuple[Any, np.ndarray]:
    """(classes, f) means of the rows of each class (zeros where there are none) and the counts."""
    counts = np.bincount(codes, minlength=classes).astype(np.float64)
    device = array_api_compat.device(rows)
    total = xp.zeros((classes, rows.shape[1]), dtype=rows.dtype, device=device)
    for at in range(0, rows.shape[0], BLOCK):
        part = np.zeros((classes, len(codes[at : at + BLOCK])))
        part[codes[at : at + BLOCK], np.arange(part.shape[1])] = 1
        total = total + xp.asarray(part, dtype=rows.dtype, device=device) @ rows[at : at + BLOCK]
    share = xp.asarray(1 / np.maximum(counts, 1), dtype=rows.dtype, device=device)
    return total * share[:, None], counts


def settle(xp: Any, rows: Any, middles: Any, *, rounds: int = 2) -> Any:
    """Middles of groups moved to the means of the rows nearest to them (Lloyd's steps)."""
    count = int(middles.shape[0])
    for _ in range(rounds):
        places = []
        half, size = middles.T * -2, xp.sum(middles * middles, axis=1)
        for at in range(0, int(rows.shape[0]), BLOCK):
            places.append(host(xp.argmin(rows[at : at + BLOCK] @ half + size, axis=1)))
        means, counts = class_means(xp, rows, np.concatenate(places), count)
        filled = xp.asarray(counts > 0, device=array_api_compat.device(rows))
        middles = xp.where(filled[:, None], means, middles)
    return middles


def landmark_count(n: int, given: int | None, *, most: int = LANDMARKS, few: int = FEW) -> int:
    """How many of n rows are landmarks where the user leaves it open (`given` is None).

    All of them up to `WHOLE`, where the features are those of the exact kernel; then `most` up to
    `few` rows, and fewer beyond, so that the work, n times the square of their number, stays the
    same.
    """
    if given is None and n <= WHOLE:
        return n
    if given is None:
        given = round(most * min(1.0, (few / n) ** 0.5))
    return min(given, n)


def landmarks_of(
    solver: str,
    n: int,
    max_exact: int,
    given: int | None,
    *,
    most: int = LANDMARKS,
    few: int = FEW,
) -> int | None:
    """How many landmarks stand for n rows, or None where the kernel is exact.

    Where the number was left open and is that of the rows, the exact kernel costs no more.

    Raises
    ------
    UsageError
        If `solver` is unknown.
    """
    if not approximate(solver, n, max_exact):
        return None
    count = landmark_count(n, given, most=most, few=few)
    return None if given is None and count == n else count


def nystroem(xp: Any, X: Any, gamma: float, *, landmarks: int, random_state: int) -> Kernel:
    """Nystroem features of rank at most `landmarks` (Williams and Seeger 2001).

    Landmarks are drawn from the rows without replacement and moved to the means of the rows
    around them (Zhang, Tsang and Kwok 2008), on at most `LLOYD` rows. Which rows are drawn
    depends on their values and the seed, not on their order.

    Parameters
    ----------
    X : array of shape (n, d)
    """
    n = int(X.shape[0])
    order = sorting(X)[draw(n, n, random_state)]
    anchors = xp.astype(take(xp, X, np.sort(order[:landmarks])), xp.float64)
    if landmarks < n:
        some = X if n <= LLOYD else take(xp, X, order[:LLOYD])
        anchors = settle(xp, xp.astype(some, xp.float64), anchors, rounds=3)
    values, vectors = xp.linalg.eigh(rbf(xp, anchors, anchors, gamma))
    kept = values > xp.max(values) * 1e-10
    safe = xp.where(kept, values, xp.ones_like(values))
    scaled = xp.where(kept, safe**-0.5, xp.zeros_like(values))
    return Kernel(anchors, gamma, (vectors * scaled) @ vectors.T)


@dataclass(frozen=True)
class Projection:
    """Rows -> components: preparation, kernel (or none), linear map, unit length (or not).

    What kernel methods return as `map_target`; new rows are projected on the same components
    (for a kernel: through its values against the training rows or landmarks).
    """

    before: Preparation
    kernel: Kernel | None
    matrix: Any
    unit: bool

    def __call__(self, rows: Any) -> Any:
        xp = array_api_compat.array_namespace(rows)
        rows = xp.astype(rows, self.matrix.dtype, copy=False)
        if rows.shape[0] <= BLOCK:
            return self._block(xp, rows)
        parts = [self._block(xp, rows[at : at + BLOCK]) for at in range(0, rows.shape[0], BLOCK)]
        return xp.concat(parts, axis=0)

    def _block(self, xp: Any, rows: Any) -> Any:
        rows = self.before(rows)
        if self.kernel is not None:
            rows = self.kernel(rows)
        rows = rows @ self.matrix
        return unit_rows(xp, rows) if self.unit else rows


def check_kernel(kernel: str, allowed: tuple[str, ...] = ("primal", "linear", "rbf")) -> None:
    """Refuse an unknown kernel name.

    Raises
    ------
    UsageError
    """
    if kernel not in allowed:
        raise UsageError(f"unknown kernel {kernel!r}", remedy=f"Use one of {', '.join(allowed)}")
