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
