"""Layer 4: the small picklable maps that adapters return for new target rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Affine:
    """``(rows - centre) @ matrix + offset``; arrays are of the adapter's namespace and dtype.

    Parameters
    ----------
    centre : array of shape (d,)
    matrix : array of shape (d, k), or None for the identity
    offset : array of shape (k,), or None for zero
    """

    centre: Any
    matrix: Any = None
    offset: Any = None

    def __call__(self, rows: Any) -> Any:
        out = rows - self.centre
        if self.matrix is not None:
            out = out @ self.matrix
        return out if self.offset is None else out + self.offset


@dataclass(frozen=True)
class Scaled:
    """``then(rows * scale)``: one number for all features, then a map (None: no further one).

    Parameters
    ----------
    scale : array of shape (1,)
        Its dtype decides the precision of what follows.
    then : callable, optional
        A frozen dataclass of this package.
    """

    scale: Any
    then: Any = None

    def __call__(self, rows: Any) -> Any:
        out = rows * self.scale
        return out if self.then is None else self.then(out)


@dataclass(frozen=True)
class Chain:
    """``then(first(rows))``.

    Parameters
    ----------
    first, then : callable
        Frozen dataclasses of this package.
    """

    first: Any
    then: Any

    def __call__(self, rows: Any) -> Any:
        return self.then(self.first(rows))


def chained(first: Any, then: Any) -> Any:
    """One map after the other; two affine maps are one, whose matrix is the smaller to keep."""
    if then is None or first is None:
        return first if then is None else then
    if not (isinstance(first, Affine) and isinstance(then, Affine)):
        return Chain(first, then)
    if first.matrix is None or then.matrix is None:
        return Chain(first, then)
    shift = -then.centre if first.offset is None else first.offset - then.centre
    offset = (shift * 1.0) @ then.matrix if shift.shape == then.matrix.shape[:1] else None
    if offset is None:  # a centre of one number stands for all columns
        offset = (shift + 0 * then.matrix[:, 0]) @ then.matrix
    if then.offset is not None:
        offset = offset + then.offset
    return Affine(first.centre, first.matrix @ then.matrix, offset)
