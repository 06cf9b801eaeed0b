"""Class-prior shift: hand-made shares, SciPy's chi-squared, uniform p-values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact, kstest

from isthmus.discrepancy.label_shift_gap import label_shift_gap
from isthmus.errors import DataError


def test_shares_by_hand():
    got = label_shift_gap(["a"] * 6 + ["b"] * 4, ["a"] * 3 + ["b"] * 3 + ["c"] * 4)
    assert got.value.value == pytest.approx((0.3 + 0.1 + 0.4) / 2)
    assert got.classes.tolist() == ["a", "b", "c"]
    assert got.source.tolist() == [0.6, 0.4, 0.0]
    assert got.only_target == ["c"] and got.only_source == []
    assert got.value.low <= got.value.value <= got.value.high


def test_chi_squared_is_scipys():
    rng = np.random.default_rng(0)
    ys, yt = rng.choice(3, 200, p=[0.5, 0.3, 0.2]), rng.choice(3, 150, p=[0.4, 0.4, 0.2])
    table = np.stack([np.bincount(ys), np.bincount(yt)])
    got = label_shift_gap(ys, yt)
    assert "chi-squared" in got.how
    assert got.p_value == pytest.approx(chi2_contingency(table, correction=False).pvalue)


def test_few_rows_take_the_permutation_test():
    # with 2 classes the permutation test of the statistic is close to Fisher's exact test
    ys, yt = ["a"] * 7 + ["b"] * 1, ["a"] * 2 + ["b"] * 6
    got = label_shift_gap(ys, yt, n_permutations=20_000)
    assert "permutations" in got.how
    assert got.p_value == pytest.approx(fisher_exact([[7, 1], [2, 6]]).pvalue, abs=0.005)


@pytest.mark.parametrize(("test", "size"), [("chi2", 400), ("permutation", 400)])
def test_p_values_are_uniform_where_nothing_differs(test, size):
    rng = np.random.default_rng(1)
    found = [
        label_shift_gap(
            rng.choice(6, size, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]),
            rng.choice(6, size, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]),
            test=test,
            n_permutations=200,
        ).p_value
        for _ in range(200)
    ]
    assert kstest(found, "uniform").pvalue > 0.01


def test_expected_is_what_chance_alone_gives():
    rng = np.random.default_rng(2)
    found = [label_shift_gap(rng.choice(4, 50), rng.choice(4, 50)) for _ in range(200)]
    plain = np.mean([gap.value.value for gap in found])
    assert np.mean([gap.expected for gap in found]) == pytest.approx(plain, abs=0.01)


def test_interval_covers():
    rng = np.random.default_rng(3)
    p, q = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    found = [
        label_shift_gap(rng.choice(3, 200, p=p), rng.choice(3, 200, p=q)).value for _ in range(100)
    ]
    assert sum(i.low <= 0.3 <= i.high for i in found) >= 88  # nominal 95


def test_names_and_refusals():
    torch = pytest.importorskip("torch")
    assert label_shift_gap(["1", "2"], [1, 2]).value.value == 0  # "1" is 1
    assert label_shift_gap(torch.tensor([0, 1]), [0, 1]).value.value == 0
    assert label_shift_gap(["a"], ["a", "a"]).p_value == 1
    with pytest.raises(DataError, match="no label"):
        label_shift_gap(np.array(["a", None], dtype=object), ["a"])
    with pytest.raises(DataError, match="shape"):
        label_shift_gap([], ["a"])
