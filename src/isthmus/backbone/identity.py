"""Layer 2: features that are features already: checked, cast to float32, passed through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.errors import BackboneError, DataError, UsageError
from isthmus.types import Array, Modality

CODE = 1
_LARGEST = float(np.finfo(np.float32).max)


@dataclass
class IdentityBackbone:
    """Rows of numbers -> the same numbers as float32.

    Parameters
    ----------
    num_features : int
        Width of a row. 0: not known yet; `fixed` gives the backbone that can be used.
    """

    num_features: int = 0
    name: str = "identity"
    modality: Modality = "features"
    batch_size: int = 1024
    recipe: dict[str, Any] = field(default_factory=lambda: {"kind": "features"})
    worth_storing: bool = False  # copying numbers into the store costs more than it saves

    @property
    def fingerprint(self) -> str:
        return iofs.sha256_bytes(iofs.canonical_json(["identity", CODE, self.num_features]))

    @property
    def reference(self) -> dict[str, Any]:
        return {"spec": f"identity:{self.num_features or ''}"}

    def fixed(self, width: int) -> IdentityBackbone:
        """The same backbone for rows of that width.

        Raises
        ------
        BackboneError
            If it already has another width.
        """
        if self.num_features not in (0, width):
            raise BackboneError(
                f"rows have {width} features, the model was made for {self.num_features}",
                remedy="Give the same columns in the same order",
            )
        return IdentityBackbone(num_features=width)

    def preprocess(self, raw: Any) -> Array:
        """(num_features,) float32.

        Raises
        ------
        DataError
            If the row is not a vector of numbers of the right width, or holds NaN, infinity or a
            number beyond float32. The engine adds the row's name.
        """
        row = np.asarray(raw)
        if row.dtype.kind not in "fiub":
            raise DataError(
                f"features must be numbers, found {row.dtype}",
                remedy="Read mixed columns as a table: --modality table",
            )
        if row.ndim != 1 or not row.size:
            raise DataError(f"a row of features is one vector, found shape {row.shape}")
        if self.num_features == 0:
            raise UsageError(
                "the width of the features is not fixed",
                why="it is a part of the fingerprint",
                remedy=f"Use backbone.fixed({row.size}), or load identity:{row.size}",
            )
        if row.size != self.num_features:
            raise DataError(
                f"the row has {row.size} features instead of {self.num_features}",
                remedy="Every row needs the same number of features",
            )
        return _finite(row)

    def __call__(self, batch: Array) -> Array:
        """(n, num_features) unchanged."""
        return np.ascontiguousarray(batch, dtype=np.float32)


def _finite(row: Array) -> Array:
    # A float64 beyond the range of float32 would become infinite on the way.
    wide = row.astype(np.float64)
    bad = np.flatnonzero(~(np.abs(wide) <= _LARGEST))
    if bad.size:
        first = int(bad[0])
        raise DataError(
            f"feature {first} is {wide[first]}",
            why=f"{bad.size} of {row.size} values are missing, infinite or beyond float32",
            remedy="Fill them in, or read the data as a table (--modality table), which imputes",
        )
    return wide.astype(np.float32)


def load(name: str = "", **options: Any) -> IdentityBackbone:
    """Features as they are; ``identity:WIDTH`` fixes the width.

    Raises
    ------
    UsageError
        If an option is given that only a network has, or the width is no number.
    """
    given = [k for k, v in options.items() if v not in (None, False) and k != "device"]
    if given:
        raise UsageError(f"{', '.join(given)} does not apply to plain features")
    if name and not name.isdigit():
        raise UsageError(f"identity:{name} is not a width", remedy="Write identity or identity:64")
    return IdentityBackbone(num_features=int(name or 0))
