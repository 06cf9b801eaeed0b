"""CORAL distance against NumPy's covariance."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.discrepancy.coral_distance import coral_distance
from isthmus.errors import DataError


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)), rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3))


def test_definition(pair):
    zs, zt = pair
    expected = np.linalg.norm(np.cov(zs.T) - np.cov(zt.T), "fro") ** 2 / (4 * 9)
    assert coral_distance(zs, zt) == pytest.approx(expected)


def test_invariances(pair):
    zs, zt = pair
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    value = coral_distance(zs, zt)
    assert coral_distance(zs + 5, zt - 3) == pytest.approx(value)  # blind to means
    assert coral_distance(zs @ turn, zt @ turn) == pytest.approx(value)
    assert coral_distance(2 * zs, 2 * zt) == pytest.approx(16 * value)
    assert coral_distance(zs, zs) == 0


def test_torch_equals_numpy(pair):
    torch = pytest.importorskip("torch")
    got = coral_distance(*(torch.tensor(z) for z in pair))
    assert got == pytest.approx(coral_distance(*pair))


def test_one_row_has_no_covariance(pair):
    with pytest.raises(DataError, match="at least 2"):
        coral_distance(pair[0][:1], pair[1])
