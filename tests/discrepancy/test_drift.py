"""Drift against SciPy, the Benjamini-Hochberg definition, and its promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from isthmus.discrepancy.drift import drift
from isthmus.errors import DataError


def test_each_feature_is_scipys_test():
    rng = np.random.default_rng(0)
    zs, zt = rng.normal(size=(50, 4)), rng.normal(size=(70, 4)) * [1, 1, 3, 1] + [0, 1, 0, 0]
    got = drift(zs, zt, names=["a", "b", "c", "d"])
    for column in range(4):
        expected = ks_2samp(zs[:, column], zt[:, column], method="exact")
        assert got.statistic[column] == pytest.approx(expected.statistic)
        assert got.p_value[column] == pytest.approx(expected.pvalue)
    assert set(got.worst()) == {"b", "c"} and got.share == 0.5
    assert got.worst(1) == [["b", "c"][int(got.statistic[2] > got.statistic[1])]]


def test_adjusted_is_the_step_up_rule():
    rng = np.random.default_rng(1)
    shift = np.where(np.arange(20) < 5, 0.6, 0.0)
    got = drift(rng.normal(size=(60, 20)), rng.normal(size=(60, 20)) + shift, level=0.1)
    order = np.sort(got.p_value)
    passing = np.flatnonzero(order <= 0.1 * np.arange(1, 21) / 20)
    cut = order[passing.max()] if passing.size else -1.0
    np.testing.assert_array_equal(got.drifted, got.p_value <= cut)
    assert got.drifted.any()


def test_false_alarms_stay_below_the_level():
    rng = np.random.default_rng(2)
    alarms = sum(
        drift(rng.normal(size=(40, 10)), rng.normal(size=(40, 10))).drifted.any()
        for _ in range(100)
    )
    assert alarms <= 12  # at most 5 expected


def test_constant_features_and_large_samples():
    zs, zt = np.zeros((5, 2)), np.zeros((6, 2))
    zt[:, 1] = 3
    got = drift(zs, zt)
    assert got.statistic.tolist() == [0, 1] and got.p_value[0] == 1
    assert got.shift[0] == 0 and got.shift[1] == np.inf
    rng = np.random.default_rng(3)
    zs, zt = rng.normal(size=(2000, 2)), rng.normal(size=(3000, 2)) + 1
    zs[:, 1], zt[:, 1] = zs[:, 1].round(1), zs[:, 1].round(1).repeat(2)[:3000]  # many ties
    big = drift(zs, zt)
    for column in range(2):
        expected = ks_2samp(zs[:, column], zt[:, column], method="asymp")
        assert big.statistic[column] == pytest.approx(expected.statistic)
        assert big.p_value[column] == pytest.approx(expected.pvalue)
    assert big.drifted.tolist() == [True, False]
    assert big.shift[0] == pytest.approx(1, abs=0.1)


def test_torch_and_refusals():
    torch = pytest.importorskip("torch")
    z = np.random.default_rng(4).normal(size=(20, 2))
    np.testing.assert_array_equal(
        drift(torch.tensor(z), torch.tensor(z + 1)).p_value, drift(z, z + 1).p_value
    )
    with pytest.raises(DataError, match="1 names for 2"):
        drift(z, z, names=["a"])
