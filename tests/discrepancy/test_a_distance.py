"""Proxy A-distance: known separations, chance, groups, and the AUC's reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from isthmus.discrepancy.a_distance import a_distance, delong
from isthmus.errors import DataError, UsageError


def shifted(rng, size, n=400, d=3):
    zs, zt = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    zt[:, 0] += size
    return zs, zt


def test_gaussians_with_a_known_answer():
    # two unit Gaussians at distance s: the best error is Phi(-s/2), the AUC Phi(s / sqrt 2)
    got = a_distance(*shifted(np.random.default_rng(0), 1.5, n=2000))
    assert got.error.value == pytest.approx(norm.cdf(-0.75), abs=0.02)
    assert got.auc.low < norm.cdf(1.5 / np.sqrt(2)) < got.auc.high
    assert got.value.value == pytest.approx(2 * (1 - 2 * got.error.value))
    assert got.value.low == pytest.approx(2 * (1 - 2 * got.error.high))


def test_far_apart_is_two_and_still_not_certain():
    got = a_distance(*shifted(np.random.default_rng(1), 50.0, n=40))
    assert got.value.value == 2.0 and got.auc.value == 1.0
    assert 0.8 < got.auc.low < 1.0 and 1 < got.value.low < 2


def test_interval_holds_one_half_where_nothing_differs():
    rng = np.random.default_rng(2)
    found = [a_distance(*shifted(rng, 0.0, n=80)).auc for _ in range(40)]
    held = sum(auc.low <= 0.5 <= auc.high for auc in found)
    assert held >= 35  # nominal 38
    assert abs(np.mean([auc.value for auc in found]) - 0.5) < 0.03


def test_unequal_sizes_do_not_matter():
    rng = np.random.default_rng(3)
    zs, zt = shifted(rng, 0.0, n=600)
    got = a_distance(zs, zt[:60])
    assert got.error.value > 0.4  # the larger domain alone would give 60 / 660
    assert got.value.value < 0.4


def test_groups_stay_together():
    # every group has its own spot: with rows of one group on both sides it is recognised
    rng = np.random.default_rng(4)
    spots = rng.normal(size=(40, 60)) * 5
    z = np.repeat(spots, 10, axis=0) + rng.normal(size=(400, 60)) * 0.1
    groups = np.repeat(np.arange(40), 10)
    leaky = a_distance(z[:200], z[200:])
    honest = a_distance(z[:200], z[200:], groups_s=groups[:200], groups_t=groups[200:])
    assert leaky.auc.value > 0.95 > 0.85 > honest.auc.value


def test_delong_against_scikit_learn_and_the_pairs():
    rng = np.random.default_rng(5)
    high, low = rng.integers(0, 8, 30) + 1.0, rng.integers(0, 8, 40) + 0.0
    value, variance = delong(high, low)
    truth = np.repeat([1, 0], [30, 40])
    assert value == pytest.approx(roc_auc_score(truth, np.concatenate([high, low])))
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    expected = wins.mean(1).var(ddof=1) / 30 + wins.mean(0).var(ddof=1) / 40
    assert variance == pytest.approx(expected)


def test_sampling_torch_and_refusals():
    torch = pytest.importorskip("torch")
    zs, zt = shifted(np.random.default_rng(6), 1.0, n=100)
    assert a_distance(torch.tensor(zs), torch.tensor(zt)) == a_distance(zs, zt)
    assert a_distance(zs, zt, max_rows=50).rows == (50, 50)
    assert a_distance(zs[:2], zt[:3]).rows == (2, 3)
    with pytest.raises(UsageError, match="one domain only"):
        a_distance(zs, zt, groups_s=np.arange(100))
    with pytest.raises(DataError, match="one group"):
        a_distance(zs, zt, groups_s=np.zeros(100), groups_t=np.ones(100))
