from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from isthmus.errors import DataError, UsageError
from isthmus.evaluate.intervals import (
    bootstrap,
    cv_difference,
    mean_interval,
    paired_difference,
    summarise,
    undefined,
    wilson,
)
from isthmus.evaluate.resample import Units


def test_wilson_is_scipys():
    for right, n in ((0, 5), (3, 10), (30, 30), (871, 1000)):
        reference = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert wilson(right / n, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_thirty_of_thirty_is_not_certain():
    result = mean_interval(np.ones(30))
    assert result.value == result.high == 1
    assert result.low == pytest.approx(0.8865, abs=1e-4)
    assert "Wilson" in result.how


def test_perfect_groups_count_as_groups():
    result = mean_interval(np.ones(600), groups=np.arange(600) % 6)
    assert result.low == pytest.approx(wilson(1.0, 6)[0])
    assert "6 groups" in result.how


def test_one_row_and_one_group_have_no_interval():
    row = mean_interval([0.3])
    assert row.value == 0.3 and math.isnan(row.low) and row.how == "no interval: 1 row"
    group = mean_interval([0.3, 0.4, 0.5], groups=["a"] * 3)
    assert math.isnan(group.high) and group.how == "no interval: 1 group"
    assert row.as_dict()["low"] is None


def test_no_rows_and_nan():
    assert mean_interval([]).how == "undefined: no rows"
    assert undefined("because").as_dict() == {
        "value": None,
        "low": None,
        "high": None,
        "level": 0.95,
        "how": "undefined: because",
    }
    with pytest.raises(DataError, match="finite"):
        mean_interval([1.0, np.nan])


def test_mean_matches_the_t_interval():
    x = np.random.default_rng(0).normal(5, 2, 400)
    result = mean_interval(x, n_boot=4000)
    low, high = stats.t.interval(0.95, 399, x.mean(), stats.sem(x))
    assert result.value == pytest.approx(x.mean())
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.03)


def covered(make, truth, runs=400):
    """Share of runs whose interval holds the truth."""
    hits = 0
    for seed in range(runs):
        result = make(np.random.default_rng(1000 + seed), seed)
        hits += result.low <= truth <= result.high
    return hits / runs


@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize("share", [0.8, 0.97])
def test_coverage_of_accuracy(n, share):
    def make(rng, seed):
        return mean_interval(rng.random(n) < share, n_boot=300, random_state=seed)

    # small n and rare errors: shares jump in steps of 1/n, so only "not too narrow" can be asked
    assert 0.92 <= covered(make, share) <= (0.985 if n == 200 else 1.0)


def test_coverage_of_a_skewed_mean():
    def make(rng, seed):
        return mean_interval(rng.exponential(1.0, 200), n_boot=300, random_state=seed)

    assert 0.92 <= covered(make, 1.0) <= 0.98


def grouped_errors(rng, groups=25, each=20):
    codes = np.repeat(np.arange(groups), each)
    return rng.normal(0, 1, groups)[codes] + rng.normal(0, 1, groups * each), codes


def test_grouped_rows_need_the_grouped_bootstrap():
    def naive(rng, seed):
        values, _ = grouped_errors(rng)
        return mean_interval(values, n_boot=300, random_state=seed)

    def grouped(rng, seed):
        values, codes = grouped_errors(rng)
        return mean_interval(values, groups=codes, n_boot=300, random_state=seed)

    assert covered(naive, 0.0) < 0.6
    assert 0.92 <= covered(grouped, 0.0) <= 0.98


def test_few_groups_are_widened_and_said():
    def make(rng, seed):
        values, codes = grouped_errors(rng, groups=5)
        return mean_interval(values, groups=codes, n_boot=300, random_state=seed)

    plain = 0.0
    for seed in range(400):  # the plain percentile interval, for contrast
        values, codes = grouped_errors(np.random.default_rng(1000 + seed), groups=5)
        means = values.reshape(5, -1).mean(axis=1)
        draws = np.random.default_rng(seed).integers(0, 5, (300, 5))
        low, high = np.quantile(means[draws].mean(axis=1), [0.025, 0.975])
        plain += low <= 0 <= high
    assert plain / 400 < 0.87
    assert covered(make, 0.0) > plain / 400 + 0.03
    values, codes = grouped_errors(np.random.default_rng(0), groups=5)
    assert "few groups" in mean_interval(values, groups=codes).how


def test_bootstrap_of_any_statistic_and_bca():
    x = np.random.default_rng(3).exponential(1.0, 150)

    def variance(weights):
        total = weights.sum(axis=0)
        return (x**2 @ weights) / total - ((x @ weights) / total) ** 2

    ours = bootstrap(variance, len(x), n_boot=4000, method="bca")
    reference = stats.bootstrap(
        (x,), np.var, n_resamples=9999, method="BCa", random_state=np.random.default_rng(1)
    ).confidence_interval
    assert ours.value == pytest.approx(x.var())
    assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), rel=0.06)
    percentile = bootstrap(variance, len(x), n_boot=4000)
    assert percentile.high < ours.high  # the skew that BCa corrects
    assert "BCa" in ours.how and "bootstrap over 150 rows" in percentile.how


def test_bca_limits():
    with pytest.raises(UsageError, match="BCa"):
        bootstrap(lambda w: w[0], 6000, n_boot=5, method="bca")
    with pytest.raises(UsageError, match="unknown interval method"):
        bootstrap(lambda w: w[0], 6, method="magic")


def test_undefined_resamples_are_said():
    units = Units.of(50)
    values = np.linspace(0, 1, 100)
    values[:20] = np.nan
    assert "undefined in 20 % of the resamples" in summarise(0.5, values, units=units).how
    values[:60] = np.nan
    result = summarise(0.5, values, units=units)
    assert math.isnan(result.low) and result.value == 0.5


def test_paired_difference_uses_the_pairs():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 300)  # both systems find the same rows hard
    a, b = hard + 0.5 + rng.normal(0, 0.1, 300), hard
    result = paired_difference(a, b)
    assert 0.45 < result.low < result.value < result.high < 0.55
    turned = paired_difference(b, a)
    assert (turned.low, turned.high) == pytest.approx((-result.high, -result.low), abs=0.005)


def test_paired_difference_of_shares_never_collapses():
    same = paired_difference(np.ones(30), np.ones(30))
    assert same.value == 0 and same.low == pytest.approx(-0.0613, abs=1e-3) == -same.high
    assert "Agresti-Min" in same.how


def test_coverage_of_a_paired_difference():
    def make(rng, seed):
        level = rng.random(120)
        return paired_difference(
            (level < 0.85) * 1.0, (level < 0.80) * 1.0, n_boot=300, random_state=seed
        )

    assert 0.92 <= covered(make, 0.05) <= 0.995


def test_paired_difference_of_statistics():
    x, y = np.arange(40.0), np.arange(40.0)[::-1] + 3
    rows = paired_difference(x, y, random_state=2)
    functions = paired_difference(
        lambda w: (x @ w) / w.sum(axis=0),
        lambda w: (y @ w) / w.sum(axis=0),
        n_rows=40,
        random_state=2,
    )
    assert functions == rows and rows.value == pytest.approx(-3)


def test_paired_difference_refuses_different_rows():
    with pytest.raises(DataError, match="same rows"):
        paired_difference(np.ones(3), np.ones(4))
    with pytest.raises(DataError, match="same rows"):
        paired_difference(lambda w: w[0], lambda w: w[0])


def test_cv_difference_by_hand():
    d = np.array([0.02, 0.01, 0.03, 0.00, 0.04])
    result = cv_difference(d, test_fraction=0.2)
    scale = math.sqrt((1 / 5 + 1 / 4) * d.var(ddof=1))
    assert result.value == pytest.approx(0.02)
    assert result.high - result.value == pytest.approx(stats.t.ppf(0.975, 4) * scale)
    naive = stats.t.ppf(0.975, 4) * stats.sem(d)
    assert result.high - result.value == pytest.approx(1.5 * naive)  # sqrt(0.45 / 0.2)


def test_cv_difference_edges():
    one = cv_difference([0.1], test_fraction=0.2)
    assert one.value == 0.1 and math.isnan(one.low)
    assert cv_difference([], test_fraction=0.2).how == "undefined: no folds"
    assert "same value" in cv_difference([0.1, 0.1], test_fraction=0.2).how
    with pytest.raises(DataError):
        cv_difference([np.nan, 0.1], test_fraction=0.2)
    with pytest.raises(UsageError):
        cv_difference([0.1, 0.2], test_fraction=1.0)
