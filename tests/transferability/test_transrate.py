"""TransRate against log determinants and the authors' rule for equal classes."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import UsageError
from isthmus.transferability.transrate import coding_rate, transrate


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [10, 20, 30])
    return rng.normal(size=(60, 5)) + 2 * np.eye(5)[y], y


def rate(Z, eps):
    return 0.5 * np.linalg.slogdet(np.eye(Z.shape[1]) + Z.T @ Z / (len(Z) * eps))[1]


def test_definition(case):
    F, y = case
    Z = F - F.mean(axis=0)
    expected = rate(Z, 0.01) - sum((y == c).mean() * rate(Z[y == c], 0.01) for c in range(3))
    assert transrate(F, y, eps=0.01, scale=False) == pytest.approx(expected)
    unit = Z / np.sqrt((Z**2).sum(axis=1).mean())
    scaled = rate(unit, 1e-4) - sum((y == c).mean() * rate(unit[y == c], 1e-4) for c in range(3))
    assert transrate(F, y) == pytest.approx(scaled)


def test_the_smaller_gram_matrix_gives_the_same_rate(case):
    Z = np.random.default_rng(1).normal(size=(7, 20))
    assert coding_rate(np, Z, 0.1) == pytest.approx(rate(Z, 0.1))


def test_two_points_in_closed_form():
    # rows +1 and -1: R = log(1 + 1 / eps) / 2 for all and for each class, nothing is left
    assert transrate([[1.0], [1.0], [-1.0], [-1.0]], [0, 0, 1, 1]) == pytest.approx(0)
    # orthogonal classes need half the dimensions each: log(1 + 1/2e) - log(1 + 1/e) / 2
    F = [[1.0, 0], [-1.0, 0], [0, 1.0], [0, -1.0]]
    expected = np.log(1 + 0.5 / 1e-4) - np.log(1 + 1 / 1e-4) / 2
    assert transrate(F, [0, 0, 1, 1]) == pytest.approx(expected)


def test_invariances_and_order(case):
    F, y = case
    rng = np.random.default_rng(2)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert transrate(9 * F @ turn + 3, y) == pytest.approx(transrate(F, y))
    assert transrate(F, y) > transrate(F, rng.permutation(y))
    assert transrate(np.ones((60, 2)), y) == 0


def test_torch_and_refusals(case):
    torch = pytest.importorskip("torch")
    F, y = case
    assert transrate(torch.tensor(F), y) == pytest.approx(transrate(F, y))
    with pytest.raises(UsageError, match="positive"):
        transrate(F, y, eps=0)
