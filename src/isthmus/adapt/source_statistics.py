"""Layer 4: what leaves the owner of the source: counts, means and covariances of the classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.adapt.gaussian_ratio import shrunk
from isthmus.adapt.sides import two_classes
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.strict import parse_json
from isthmus.types import Array

WHO = "SourceStatistics"
NAMES = ("classes", "counts", "means", "covariance")


@dataclass(frozen=True)
class SourceStatistics:
    """Sufficient statistics of a Gaussian a class; no row can be read from them.

    Parameters
    ----------
    classes : ndarray of shape (K,)
        Sorted.
    counts : ndarray of shape (K,)
        Rows of each class.
    means : ndarray of shape (K, d)
    covariance : ndarray of shape (d, d) or (K, d, d)
        Within classes (sum over n), pooled or one a class.
    """

    classes: Array
    counts: Array
    means: Array
    covariance: Array

    @classmethod
    def of(
        cls,
        X: Any,
        y: Any,
        *,
        covariance: str = "pooled",
        shrinkage: str | float = "ledoit-wolf",
        least: int = 2,
    ) -> SourceStatistics:
        """Computed by the owner of the rows.

        Parameters
        ----------
        X, y : array of shape (n, d), (n,)
        covariance : {"pooled", "class"}, default="pooled"
            One for all classes, or one a class, drawn to the pooled one with the weight of d rows.
        shrinkage : "ledoit-wolf" or float, default="ledoit-wolf"
            Of the pooled covariance towards a multiple of the identity.
        least : int, default=2
            Rows that every class must have: the mean of one row is that row.

        Raises
        ------
        DataError
            If a value is missing, there is one class, or a class has fewer rows than `least`.
        UsageError
            If an option is unknown.
        """
        if covariance not in ("pooled", "class"):
            raise UsageError(f"covariance={covariance!r}", remedy='Use "pooled" or "class"')
        X, y = np.asarray(X), np.asarray(y)
        if X.ndim != 2 or y.shape != (len(X),) or not len(X):
            raise DataError(f"rows of shape {X.shape}, labels of shape {y.shape}", where=WHO)
        if not np.isfinite(X).all():
            raise DataError("the features hold NaN or infinity", where=WHO)
        classes, codes = two_classes(y, WHO)
        counts = np.bincount(codes)
        if counts.min() < least:
            raise DataError(
                f"{counts.min()} row of class {plain_repr(classes[counts.argmin()])}",
                where=WHO,
                why="a mean of so few rows gives them away",
                remedy="Leave the class out, or pass least=1 where that is no secret",
            )
        hot = codes[:, None] == np.arange(len(classes))
        means = (hot.T.astype(np.float64) @ X) / counts[:, None]
        rest = X - means[codes]
        pooled, _ = shrunk(np, rest, shrinkage)
        if covariance == "pooled":
            return cls(classes, counts, means, pooled)
        d = X.shape[1]
        each = [
            (rest[codes == k].T @ rest[codes == k] + d * pooled) / (counts[k] + d)
            for k in range(len(classes))
        ]
        return cls(classes, counts, means, np.stack(each))

    def to_arrays(self) -> dict[str, Array]:
        """Plain arrays, for a safetensors file (`iofs.write_tensors`); classes as UTF-8 JSON."""
        names = json.dumps([self.classes.dtype.kind, self.classes.tolist()]).encode()
        return {
            "classes": np.frombuffer(names, dtype=np.uint8).copy(),
            "counts": self.counts.astype(np.int64),
            "means": np.ascontiguousarray(self.means, dtype=np.float64),
            "covariance": np.ascontiguousarray(self.covariance, dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> SourceStatistics:
        """Read back and checked.

        Raises
        ------
        DataError
            If an array is missing, shapes do not fit, or a number is not finite.
        """
        if gone := [name for name in NAMES if name not in arrays]:
            raise DataError(f"no array {gone[0]!r}", where=WHO)
        try:
            kind, names = parse_json(np.asarray(arrays["classes"], dtype=np.uint8).tobytes())
            classes = np.array(names, dtype=object if kind == "O" else None)
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError("the classes cannot be read", where=WHO, why=str(error)) from None
        numbers = [np.array(arrays[name]) for name in NAMES[1:]]
        return cls(classes, *numbers).checked()

    def checked(self, d: int | None = None) -> SourceStatistics:
        """Itself, if the parts fit together (and `d` features).

        Raises
        ------
        DataError
        """
        K = len(self.classes)
        width = self.means.shape[-1] if d is None else d
        shapes = [(width, width), (K, width, width)]
        fine = (
            K >= 2
            and self.classes.shape == (K,)
            and len(set(self.classes.tolist())) == K
            and self.counts.shape == (K,)
            and self.means.shape == (K, width)
            and self.covariance.shape in shapes
        )
        if not fine:
            raise DataError(
                f"{K} classes, counts {self.counts.shape}, means {self.means.shape}, "
                f"covariance {self.covariance.shape}",
                where=WHO,
                why="the parts do not fit together" if d is None else f"{d} features are needed",
            )
        parts = (self.counts, self.means, self.covariance)
        if not all(np.isfinite(part).all() for part in parts) or (self.counts < 1).any():
            raise DataError("numbers that are not finite, or empty classes", where=WHO)
        return self
