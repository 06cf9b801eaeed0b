"""Exact intervals: closed forms, and coverage counted in simulations and by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from isthmus.errors import DataError, UsageError
from isthmus.select.estimate.exact import clopper_pearson, exact_interval, stratified_interval


def test_closed_forms():
    low, high = clopper_pearson(20, 20, level=0.9)
    assert (low, high) == (pytest.approx(0.05 ** (1 / 20)), 1.0)
    low, high = clopper_pearson(0, 20, level=0.9)
    assert (low, high) == (0.0, pytest.approx(1 - 0.05 ** (1 / 20)))
    low, high = clopper_pearson(13, 30, level=0.95)
    assert binom.sf(12, 30, low) == pytest.approx(0.025)
    assert binom.cdf(13, 30, high) == pytest.approx(0.025)


@pytest.mark.parametrize("n", [20, 57])
def test_coverage_by_enumeration(n):
    ends = np.array([clopper_pearson(k, n, level=0.9) for k in range(n + 1)])
    for p in np.linspace(0.005, 0.995, 199):
        inside = (ends[:, 0] <= p) & (p <= ends[:, 1])
        assert binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 0.9 - 1e-9


def test_random_draw():
    found = exact_interval(np.arange(25) < 20)
    assert found.value == 0.8
    assert (found.low, found.high) == clopper_pearson(20, 25, level=0.9)
    assert "25 labelled target rows" in found.how


def test_fewer_than_twenty_are_refused():
    with pytest.raises(DataError, match=r"19 labelled target rows.*Label 1 more"):
        exact_interval(np.ones(19, dtype=bool))
    with pytest.raises(DataError, match="19 labelled"):
        stratified_interval(np.ones(19, dtype=bool), np.zeros(19, dtype=int), [1.0])
    with pytest.raises(UsageError):
        exact_interval(np.ones(20, dtype=bool), level=0.3)
    with pytest.raises(DataError, match="right-or-wrong"):
        exact_interval(np.full(20, 0.5))


def test_shares_must_fit():
    right, codes = np.ones(20, dtype=bool), np.arange(20) % 2
    for shares in ([0.5, 0.6], [1.2, -0.2], [1.0], [0.5, np.nan]):
        with pytest.raises(DataError):
            stratified_interval(right, codes, shares)
    with pytest.raises(DataError, match="no labelled row"):
        stratified_interval(right, codes, [0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    "shares, drawn, truth, how",
    [
        ([0.25] * 4, [5] * 4, [0.99, 0.9, 0.5, 0.8], "in proportion"),
        ([0.25] * 4, [10] * 4, [1.0, 1.0, 1.0, 0.7], "in proportion"),
        ([0.6, 0.3, 0.1], [10] * 3, [0.9, 0.6, 0.2], ""),
        ([0.9, 0.1], [50, 50], [0.95, 0.5], ""),
        ([0.5, 0.4, 0.1], [20, 20, 0], [0.9, 0.8, 0.0], ""),
        ([0.5, 0.4, 0.1], [20, 20, 0], [0.9, 0.8, 1.0], ""),
        ([0.5, 0.5], [10, 10], [0.0, 0.05], "in proportion"),
    ],
)
def test_stratified_coverage(shares, drawn, truth, how):
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(len(drawn)), drawn)
    goal, inside, runs = float(np.dot(shares, truth)), 0, 600
    for _ in range(runs):
        right = rng.random(len(codes)) < np.asarray(truth)[codes]
        found = stratified_interval(right, codes, shares, level=0.9)
        assert found.low <= found.value <= found.high
        inside += found.low - 1e-12 <= goal <= found.high + 1e-12
        assert how in found.how
    assert inside / runs >= 0.875


def test_the_plain_interval_would_not_cover_a_draw_per_class():
    """Equal draws from unequal classes: the pooled share is of something else."""
    rng = np.random.default_rng(1)
    codes, shares, truth = np.repeat([0, 1], 50), [0.95, 0.05], np.array([0.95, 0.3])
    goal, plain, stratified = float(np.dot(shares, truth)), 0, 0
    for _ in range(300):
        right = rng.random(100) < truth[codes]
        a = exact_interval(right)
        b = stratified_interval(right, codes, shares)
        plain += a.low <= goal <= a.high
        stratified += b.low <= goal <= b.high
    assert plain < 30
    assert stratified >= 270


def test_a_single_success_is_where_the_binomial_interval_fails_a_draw_per_class():
    """One class right with 5.1 %, nineteen never: P(one or more right) = 5.1 % > 5 %.

    The plain binomial lower end at one success of 20 is 0.00256 > 0.051 / 20: not covered.
    """
    codes = np.arange(20)
    right = np.zeros(20, dtype=bool)
    right[3] = True
    goal = 0.051 / 20
    assert clopper_pearson(1, 20)[0] > goal
    assert stratified_interval(right, codes, [0.05] * 20).low <= goal


def test_estimated_shares_widen_it():
    right = np.concatenate([np.ones(30, bool), np.arange(30) < 10])
    codes, shares = np.repeat([0, 1], 30), np.array([0.7, 0.3])
    known = stratified_interval(right, codes, shares)
    loose = stratified_interval(right, codes, shares, bounds=(shares - 0.2, shares + 0.2))
    assert loose.low < known.low and loose.high >= known.high
    assert "worst shares" in loose.how
    # by hand: at the worst shares (0.5, 0.5), each class at 1 - 0.05 / 2
    low = [clopper_pearson(k, 30, level=0.975)[0] for k in (30, 10)]
    assert loose.low == pytest.approx(0.5 * low[0] + 0.5 * low[1])
