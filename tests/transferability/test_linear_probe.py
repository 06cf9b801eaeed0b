"""Linear probe: known separations, no leak between folds, rare classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from isthmus.errors import DataError
from isthmus.transferability.linear_probe import inflation, linear_probe


def test_two_gaussians_with_a_known_answer():
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    F = rng.normal(size=(3000, 3)) + 1.5 * np.eye(3)[y * 0] * y[:, None]
    got = linear_probe(F, y)
    assert got.accuracy.low < norm.cdf(0.75) < got.accuracy.high
    assert got.accuracy.value == got.right.mean() and set(got.right) == {0.0, 1.0}


def test_noise_is_chance_and_its_interval_covers():
    rng = np.random.default_rng(1)
    found = [linear_probe(rng.normal(size=(80, 5)), np.arange(80) % 2).accuracy for _ in range(40)]
    assert sum(i.low <= 0.5 <= i.high for i in found) >= 35  # nominal 38
    assert inflation(5) == 2.25


def test_groups_stay_together():
    rng = np.random.default_rng(2)
    F = np.repeat(rng.normal(size=(30, 50)) * 5, 8, axis=0) + rng.normal(size=(240, 50)) * 0.1
    groups = np.repeat(np.arange(30), 8)
    y = groups % 2  # a label of the group alone: nothing to learn
    assert linear_probe(F, y).accuracy.value > 0.95
    honest = linear_probe(F, y, groups=groups).accuracy
    assert honest.value < 0.75 and "30 groups" in honest.how


def test_rare_class_is_named():
    rng = np.random.default_rng(3)
    y = np.array([0] * 20 + [1] * 20 + [2])
    got = linear_probe(rng.normal(size=(41, 2)) + 9 * y[:, None], y)
    assert [t.code for t in got.troubles] == ["rare-class"]
    assert got.right[-1] == 0 and got.right[:40].mean() > 0.9
    assert linear_probe([[0.0], [1.0]], ["a", "b"]).accuracy.value == 0


def test_torch_and_refusals():
    torch = pytest.importorskip("torch")
    F, y = np.random.default_rng(4).normal(size=(30, 2)), np.arange(30) % 2
    assert linear_probe(torch.tensor(F), y).accuracy == linear_probe(F, y).accuracy
    with pytest.raises(DataError, match="1 row or group"):
        linear_probe(F, y, groups=np.zeros(30))
