"""LEEP against its definition, row by row, and its two bounds."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.transferability.leep import leep
from isthmus.transferability.nce import nce


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(5), size=60), rng.integers(0, 3, 60)


def test_definition(case):
    theta, y = case
    joint = np.array([[theta[y == c, z].sum() / 60 for z in range(5)] for c in range(3)])
    given = joint / joint.sum(axis=0)
    likelihood = [sum(given[y[i], z] * theta[i, z] for z in range(5)) for i in range(60)]
    expected = np.mean(np.log(likelihood))
    assert leep(theta, y) == pytest.approx(expected)


def test_hard_outputs_give_nce(case):
    theta, y = case
    hard = theta.argmax(axis=1)
    assert leep(np.eye(5)[hard], y) == pytest.approx(nce(hard, y))


def test_bounds(case):
    theta, y = case
    # property 1 of Nguyen et al. 2020 for the most likely source labels, and log loss below 0
    hard = theta.argmax(axis=1)
    assert nce(hard, y) + np.log(theta.max(axis=1)).mean() <= leep(theta, y) <= 0
    # constant outputs know the class shares only
    shares = np.bincount(y) / 60
    flat = leep(np.full((60, 5), 0.2), y)
    assert flat == pytest.approx((shares * np.log(shares)).sum())


def test_torch_unused_classes_and_refusals(case):
    torch = pytest.importorskip("torch")
    theta, y = case
    assert leep(torch.tensor(theta), y) == pytest.approx(leep(theta, y))
    assert leep(np.hstack([theta, np.zeros((60, 1))]), y) == pytest.approx(leep(theta, y))
    with pytest.raises(DataError, match="softmax"):
        leep(theta * 2, y)
