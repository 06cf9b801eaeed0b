"""OTDD against matrix square roots and an assignment by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from isthmus.discrepancy.otdd import class_distances, otdd
from isthmus.errors import DataError

pytest.importorskip("ot")


def bures(a, b):
    """Squared W_2 of two Gaussians by matrix square roots."""
    ca, cb = np.cov(a.T), np.cov(b.T)
    root = sqrtm(ca)
    joint = np.real(np.trace(sqrtm(root @ cb @ root)))
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * joint


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    ys, yt = np.repeat([0, 1, 2], 10), np.repeat(["x", "y"], 15)
    zs = rng.normal(size=(30, 4)) + 3 * np.eye(4)[ys]
    return zs, ys, rng.normal(size=(30, 4)) * 1.5 + 2 * np.eye(4)[np.repeat([1, 3], 15)], yt


def test_class_distances(sets):
    zs, ys, zt, yt = sets
    expected = [[bures(zs[ys == a], zt[yt == b]) for b in "xy"] for a in range(3)]
    got = otdd(*sets).info["class_distances"] ** 2
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_distance_is_the_best_assignment(sets):
    zs, ys, zt, yt = sets
    between = class_distances(zs, ys, zt, (yt == "y").astype(int))
    cost = cdist(zs, zt, "sqeuclidean") + between[ys][:, (yt == "y").astype(int)]
    rows, columns = linear_sum_assignment(cost)
    assert otdd(*sets).value == pytest.approx(np.sqrt(cost[rows, columns].mean()))


def test_invariances(sets):
    zs, ys, zt, yt = sets
    value = otdd(*sets).value
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert otdd(zs @ turn, ys, zt @ turn, yt).value == pytest.approx(value)
    assert otdd(zt, yt, zs, ys).value == pytest.approx(value)
    assert otdd(zs, ys, zs, 5 - ys).value == pytest.approx(0, abs=1e-6)  # names do not count
    order = np.random.default_rng(2).permutation(30)
    assert otdd(zs[order], ys[order], zt, yt).value == pytest.approx(value)


def test_labels_matter_where_features_agree(sets):
    zs, ys, _, _ = sets
    mixed = np.random.default_rng(3).permutation(ys)
    assert otdd(zs, ys, zs, mixed).value > 1


def test_few_rows_draws_and_torch(sets):
    torch = pytest.importorskip("torch")
    zs, ys, zt, yt = sets
    single = otdd(zs[:3], ["a", "b", "c"], zs[:3] + 1, ["a", "b", "c"])
    assert single.value == pytest.approx(np.sqrt(8))  # |shift|^2 twice: rows and class means
    assert otdd(torch.tensor(zs), ys, torch.tensor(zt), yt).value == otdd(*sets).value
    drawn = otdd(*sets, max_rows=20)
    assert drawn.interval is not None and drawn.value == pytest.approx(otdd(*sets).value, rel=0.3)
    with pytest.raises(DataError, match="each of 30 rows"):
        otdd(zs, ys[:5], zt, yt)
