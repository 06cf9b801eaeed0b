"""Class-prior shift: total variation between the class shares of two domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.discrepancy.base import check_labels
from isthmus.types import Array, Interval


@dataclass(frozen=True)
class PriorShift:
    """How different the class shares are, and whether chance explains it.

    Parameters
    ----------
    value : Interval
        Total variation, half the sum of absolute differences: 0 = equal shares, 1 = no class in
        common; the share of rows that would have to change class.
    p_value : float
        Of equal class shares.
    expected : float
        Mean total variation of two samples of these sizes with equal shares: what chance alone
        gives.
    how : str
        The test in words.
    classes : ndarray of shape (k,)
        Union of the classes, sorted.
    source, target : ndarray of shape (k,)
        Class shares.
    """

    value: Interval
    p_value: float
    expected: float
    how: str
    classes: Array
    source: Array
    target: Array

    @property
    def only_source(self) -> list[Any]:
        """Classes without a target row."""
        return self.classes[self.target == 0].tolist()

    @property
    def only_target(self) -> list[Any]:
        """Classes without a source row."""
        return self.classes[self.source == 0].tolist()


def label_shift_gap(
    ys: Any,
    yt: Any,
    *,
    test: str = "auto",
    n_permutations: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
) -> PriorShift:
    """Total variation of the class shares with a test of equality.

    Parameters
    ----------
    ys, yt : array of shape (n_s,), (n_t,)
        Class labels; target labels may be predictions, then the figure is about those.
    test : {"auto", "chi2", "permutation"}, default="auto"
        Chi-squared on the 2 x k table where every expected count is at least 5 (Cochran's
        rule), otherwise the permutation test of the same statistic.
    n_permutations : int, default=2000
        Random tables with the same margins; also give `expected`, and as many resamples the
        interval.
    level : float, default=0.95
    random_state : int, default=0

    Returns
    -------
    PriorShift
        The interval is a reflected multinomial bootstrap: the plain figure is biased upwards
        where shares are close.

    Raises
    ------
    DataError
        If a side is empty or a label is missing.
    """
    from isthmus.discrepancy.base import check_choice

    who = "label_shift_gap"
    check_choice(test, ("auto", "chi2", "permutation"), name="test", who=who)
    ys = check_labels(ys, None, name="source", who=who)
    yt = check_labels(yt, None, name="target", who=who)
    if ys.dtype.kind != yt.dtype.kind:  # "1" and 1 are one class, as everywhere in the project
        ys, yt = ys.astype(str), yt.astype(str)
    classes, codes = np.unique(np.concatenate([ys, yt]), return_inverse=True)
    k, m, n = len(classes), len(ys), len(yt)
    counts = np.bincount(codes[:m], minlength=k), np.bincount(codes[m:], minlength=k)
    source, target = counts[0] / m, counts[1] / n
    value = float(_total_variation(source, target))
    rng = np.random.default_rng(random_state)

    margin = counts[0] + counts[1]
    tables = rng.multivariate_hypergeometric(margin, m, size=n_permutations)
    chance = _total_variation(tables / m, (margin - tables) / n)
    p_value, how = _p_value(counts[0], margin, m, n, tables, test)
    draws = _total_variation(
        rng.multinomial(m, source, size=n_permutations) / m,
        rng.multinomial(n, target, size=n_permutations) / n,
    )
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    interval = Interval(
        value,
        float(np.clip(2 * value - high, 0.0, value)),
        float(np.clip(2 * value - low, value, 1.0)),
        level=level,
        how=f"reflected multinomial bootstrap over {m} and {n} rows",
    )
    return PriorShift(interval, p_value, float(chance.mean()), how, classes, source, target)


def _total_variation(p: Array, q: Array) -> Array:
    """Half the L1 distance over the last axis."""
    return np.abs(p - q).sum(axis=-1) / 2


def _p_value(
    observed: Array, margin: Array, m: int, n: int, tables: Array, test: str
) -> tuple[float, str]:
    """Chi-squared statistic of the 2 x k table, by its limit or over `tables`."""
    from scipy.stats import chi2

    if len(margin) == 1:
        return 1.0, "one class only"
    expected = margin * (m / (m + n))

    def statistic(source: Array) -> Array:
        # both rows of the table deviate by the same amount
        return ((source - expected) ** 2 * (1 / expected + 1 / (margin - expected))).sum(axis=-1)

    value = float(statistic(observed))
    rare = float(min(expected.min(), (margin - expected).min()))
    if test == "chi2" or (test == "auto" and rare >= 5):
        freedom = len(margin) - 1
        return float(chi2.sf(value, freedom)), f"chi-squared with {freedom} degrees of freedom"
    reached = int(np.sum(statistic(tables) >= value * (1 - 1e-12) - 1e-12))
    return (1 + reached) / (1 + len(tables)), f"{len(tables)} permutations of the labels"
