"""Rows or whole groups drawn with replacement, as weights of many resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.errors import DataError
from isthmus.types import Array

CHUNK = 4_000_000  # weights held at a time: 32 MB of float64

Statistic = Callable[[Array], Array]


@dataclass(frozen=True)
class Units:
    """What is drawn with replacement: single rows, or whole groups of rows.

    Parameters
    ----------
    n_rows : int
        Rows of the test set.
    codes : ndarray of int, optional
        (n_rows,) group number of each row, 0..count-1; None where rows are independent.
    count : int
        Number of units.
    """

    n_rows: int
    codes: Array | None
    count: int

    @classmethod
    def of(cls, n_rows: int, groups: Array | None = None) -> Units:
        """Units from a group column; a row without a group (None, NaN) is a group of its own."""
        if groups is None:
            return cls(n_rows, None, n_rows)
        if len(groups) != n_rows:
            raise DataError(f"{len(groups)} groups for {n_rows} rows", where="groups")
        seen: dict[object, int] = {}
        codes = np.empty(n_rows, dtype=np.int64)
        for row, group in enumerate(groups):
            missing = group is None or group != group  # NaN is the one value unequal to itself
            key: object = ("row", row) if missing else ("group", str(group))
            codes[row] = seen.setdefault(key, len(seen))
        if len(seen) == n_rows:  # every row alone: the same as no groups
            return cls(n_rows, None, n_rows)
        return cls(n_rows, codes, len(seen))

    @property
    def words(self) -> str:
        """``300 rows`` or ``12 groups``."""
        kind = "row" if self.codes is None else "group"
        return f"{self.count:,} {kind}{'' if self.count == 1 else 's'}"


def bootstrap_weights(
    units: Units, *, n_boot: int = 1000, random_state: int = 0
) -> Iterator[Array]:
    """Draw counts of the multinomial (or cluster) bootstrap, a chunk of resamples at a time.

    Rows are not stratified by class: class shares vary between resamples as they would between
    test sets. With groups, whole groups are drawn (Davison & Hinkley 1997, section 3.8), so the
    number of rows varies and every statistic normalises by its own sum of weights.

    Parameters
    ----------
    units : Units
        Rows or groups.
    n_boot : int, default=1000
        Number of resamples.
    random_state : int, default=0
        Seed; equal seeds give equal resamples, which is what pairs two systems.

    Yields
    ------
    ndarray
        (n_rows, b) float64; column sums are n_rows without groups. Column j does not depend on
        the size of the chunks.
    """
    rng = np.random.default_rng(random_state)
    size = max(1, min(n_boot, CHUNK // max(units.n_rows, 1)))
    for start in range(0, n_boot, size):
        width = min(size, n_boot - start)
        drawn = rng.integers(0, units.count, (width, units.count))
        drawn += np.arange(width)[:, None] * units.count
        drawn = np.bincount(drawn.ravel(), minlength=width * units.count)
        drawn = drawn.reshape(width, units.count).astype(np.float64)
        counts = np.ascontiguousarray(drawn.T)
        yield counts if units.codes is None else counts[units.codes]


def replicate(
    statistics: Callable[[Array], Mapping[str, Array]],
    units: Units,
    *,
    n_boot: int = 1000,
    random_state: int = 0,
) -> dict[str, Array]:
    """Evaluate weight-functions on every resample; values are (..., n_boot)."""
    parts: dict[str, list[Array]] = {}
    for weights in bootstrap_weights(units, n_boot=n_boot, random_state=random_state):
        for name, values in statistics(weights).items():
            parts.setdefault(name, []).append(np.asarray(values))
    return {name: np.concatenate(values, axis=-1) for name, values in parts.items()}
