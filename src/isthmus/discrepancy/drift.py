"""Drift feature by feature: Kolmogorov-Smirnov with a correction for looking at many features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.discrepancy.base import check_pair
from isthmus.errors import DataError
from isthmus.types import Array


@dataclass(frozen=True)
class Drift:
    """One entry a feature, in the order of the columns.

    Parameters
    ----------
    names : tuple of str
    statistic : ndarray of shape (d,)
        Largest difference of the two distribution functions, 0 to 1.
    p_value, adjusted : ndarray of shape (d,)
        Two-sided p-values, raw and after Benjamini and Hochberg (1995).
    shift : ndarray of shape (d,)
        Target mean minus source mean, in pooled standard deviations; 0 for a constant feature.
    drifted : ndarray of shape (d,)
        Whether the adjusted p-value is at most `level`.
    level : float
        Expected share of false alarms among the drifted features.
    """

    names: tuple[str, ...]
    statistic: Array
    p_value: Array
    adjusted: Array
    shift: Array
    drifted: Array
    level: float

    @property
    def share(self) -> float:
        """Share of the features that drifted."""
        return float(self.drifted.mean())

    def worst(self, count: int = 10) -> list[str]:
        """Names of the drifted features, the largest statistic first."""
        order = np.argsort(-self.statistic, kind="stable")
        return [self.names[i] for i in order if self.drifted[i]][:count]


def drift(zs: Any, zt: Any, *, names: Sequence[str] | None = None, level: float = 0.05) -> Drift:
    """Two-sample Kolmogorov-Smirnov test of every feature, corrected for their number.

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy or torch (brought to the host).
    names : sequence of str, optional
        Column names; by default ``"0"``, ``"1"``, ...
    level : float, default=0.05
        False discovery rate (Benjamini and Hochberg 1995; valid for features that are
        independent or positively dependent).

    Returns
    -------
    Drift
        p-values are exact up to a million pairs of rows and asymptotic beyond; with ties
        (counts, categories) they are conservative.

    Raises
    ------
    DataError
        If widths or the number of names differ, or a value is not finite.
    """
    from scipy.stats import false_discovery_control, ks_2samp, kstwo

    _, zs, zt = check_pair(zs, zt, who="drift", numpy=True)
    width = zs.shape[1]
    labels = tuple(str(i) for i in range(width)) if names is None else tuple(map(str, names))
    if len(labels) != width or width == 0:
        raise DataError(f"{len(labels)} names for {width} features", where="drift")
    exact = len(zs) * len(zt) <= 1_000_000
    statistic, p_value = np.zeros(width), np.ones(width)
    for column in range(width):
        if not exact:
            statistic[column] = _largest_gap(zs[:, column], zt[:, column])
            continue
        with warnings.catch_warnings():
            # SciPy falls back to the asymptotic p-value by itself where the exact one overflows
            warnings.filterwarnings("ignore", message="ks_2samp", category=RuntimeWarning)
            found = ks_2samp(zs[:, column], zt[:, column], method="exact")
        statistic[column], p_value[column] = found.statistic, found.pvalue
    if not exact:  # as SciPy's method="asymp"
        p_value = kstwo.sf(statistic, round(len(zs) * len(zt) / (len(zs) + len(zt))))
    p_value = np.clip(p_value, 0.0, 1.0)
    adjusted = false_discovery_control(p_value, method="bh")
    freedom = len(zs) + len(zt) - 2
    pooled = np.sqrt(
        ((len(zs) - 1) * zs.var(axis=0, ddof=1) + (len(zt) - 1) * zt.var(axis=0, ddof=1)) / freedom
    )
    difference = zt.mean(axis=0) - zs.mean(axis=0)
    # two different constants are infinitely many standard deviations apart
    apart = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    shift = np.divide(difference, pooled, out=apart, where=pooled > 0)
    return Drift(labels, statistic, p_value, adjusted, shift, adjusted <= level, level)


def _largest_gap(a: Array, b: Array) -> float:
    """Kolmogorov-Smirnov statistic; sorted look-ups are several times faster than SciPy's."""
    a, b = np.sort(a), np.sort(b)
    gap = 0.0
    for rows in (a, b):
        below = (np.searchsorted(side, rows, side="right") / len(side) for side in (a, b))
        gap = max(gap, float(np.abs(np.subtract(*below)).max()))
    return gap
