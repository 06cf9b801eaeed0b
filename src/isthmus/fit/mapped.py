"""Layer 5: processing followed by a domain map: the front of a model that serves target rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.adapt.state import from_state, to_state
from isthmus.errors import BundleError
from isthmus.fit.base import State, under
from isthmus.fit.features import FeatureProcessor
from isthmus.types import Array


@dataclass(frozen=True)
class Mapped:
    """A fitted processor, then a map of target rows; stands where a `FeatureProcessor` stands.

    Parameters
    ----------
    processor : FeatureProcessor or None
        Fitted.
    mapping : callable
        Frozen dataclass of `isthmus.adapt`: (n, d) processed target rows -> (n, k).
    n_features_in_, n_features_out_ : int
    """

    processor: FeatureProcessor | None
    mapping: Any
    n_features_in_: int
    n_features_out_: int

    @classmethod
    def of(cls, processor: FeatureProcessor | None, mapping: Any, width: int) -> Mapped:
        """Check the map on made-up rows; it computes with the arrays that would be saved.

        Parameters
        ----------
        width : int
            Number of features before the processor.

        Raises
        ------
        UsageError
            If the map cannot be saved.
        BundleError
            If it does not give one finite row for a row.
        """
        mapping = from_state(*to_state(mapping))
        inner = width if processor is None else processor.n_features_out_
        return cls(processor, mapping, width, _probe(mapping, inner))

    @property
    def constant_(self) -> int | None:
        """Number of constant features of the processor."""
        return None if self.processor is None else self.processor.constant_

    def transform(self, X: Any) -> Array:
        """(n, n_features_out_) mapped rows."""
        rows = np.asarray(X) if self.processor is None else self.processor.transform(X)
        return _matrix(self.mapping(rows))

    def to_state(self) -> State:
        """Tensors under ``processor.`` and ``map.``, and one JSON dict."""
        tensors, mapping = to_state(self.mapping)
        out = {f"map.{name}": value for name, value in tensors.items()}
        processor = None
        if self.processor is not None:
            tensors, processor = self.processor.to_state()
            out |= {f"processor.{name}": value for name, value in tensors.items()}
        return out, {
            "kind": "Mapped",
            "n_features": self.n_features_in_,
            "n_features_out": self.n_features_out_,
            "processor": processor,
            "map": mapping,
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Mapped:
        """Read `to_state` back.

        Raises
        ------
        BundleError
            If a part is missing, not allowed, or the parts do not fit together.
        """
        processor, width = None, int(meta["n_features"])
        if not 0 < width < 1 << 24:
            raise BundleError("an absurd number of features")
        if meta["processor"] is not None:
            processor = FeatureProcessor.from_state(under(tensors, "processor."), meta["processor"])
            if processor.n_features_in_ != width:
                raise BundleError("processor and map disagree about the number of features")
        out = cls.of(processor, from_state(under(tensors, "map."), meta["map"]), width)
        if out.n_features_out_ != meta["n_features_out"]:
            raise BundleError("the map gives another number of features than was recorded")
        return out


def front_from_state(
    tensors: Mapping[str, Array], meta: Mapping[str, Any]
) -> FeatureProcessor | Mapped:
    """What stands before the head: a processor, or a processor and a map."""
    if meta.get("kind") == "Mapped":
        return Mapped.from_state(tensors, meta)
    return FeatureProcessor.from_state(tensors, meta)


def _probe(mapping: Any, width: int) -> int:
    """Width of what the map gives; a map whose parts do not fit together is refused."""
    rows = np.sin(np.arange(2 * width, dtype=np.float64)).reshape(2, width) + 1.5
    try:
        out = _matrix(mapping(rows))
    except Exception as error:  # whatever arrays of the wrong shape provoke
        raise BundleError(
            f"the map does not fit {width} features", why=f"{error!r:.200}"
        ) from error
    if out.ndim != 2 or len(out) != 2 or out.shape[1] < 1 or out.dtype.kind != "f":
        raise BundleError(f"the map turns 2 rows of {width} features into shape {out.shape}")
    if not np.isfinite(out).all():
        raise BundleError("the map gives numbers that are not finite")
    return int(out.shape[1])


def _matrix(rows: Any) -> Array:
    """Two-dimensional: values of a regression are one column."""
    out = np.asarray(rows)
    return out[:, None] if out.ndim == 1 else out
