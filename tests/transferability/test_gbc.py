"""GBC against the integral of the square root of two densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from isthmus.errors import UsageError
from isthmus.transferability.gbc import gbc


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 30)
    return rng.normal(size=(90, 4)) * [1, 2, 1, 0.5] + np.eye(4)[y], y


def overlap(a, b, axis):
    """Integral of sqrt(p q) for the fitted normals of one feature."""
    p, q = (norm(x[:, axis].mean(), x[:, axis].std()) for x in (a, b))
    return quad(lambda t: np.sqrt(p.pdf(t) * q.pdf(t)), -30, 30, limit=200)[0]


def test_is_the_integral(case):
    F, y = case
    expected = 0.0
    for i in range(3):
        for j in range(3):
            if i != j:
                parts = [overlap(F[y == i], F[y == j], axis) for axis in range(4)]
                expected -= np.prod(parts)
    assert gbc(F, y, components=None) == pytest.approx(expected, rel=1e-6)


def test_ends():
    y = np.repeat([0, 1], 50)
    z = np.random.default_rng(1).normal(size=(50, 3))
    assert gbc(np.concatenate([z, z]), y) == pytest.approx(-2)  # k (k - 1): full overlap
    assert gbc(np.concatenate([z, z + 1e3]), y) == pytest.approx(0)


def test_spherical_is_invariant_to_rotation_without_components(case):
    F, y = case
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0]
    value = gbc(F, y, covariance="spherical", components=None)
    assert gbc(5 * F @ turn + 2, y, covariance="spherical", components=None) == pytest.approx(value)
    assert gbc(5 * F @ turn + 2, y) == pytest.approx(gbc(F, y))  # principal axes turn along


def test_a_class_of_one_row_borrows_a_variance(case):
    F, y = case
    y = y.copy()
    y[0] = 9
    # alone it would be a point that overlaps with nothing
    F = np.vstack([F, F[0]])[:90]
    assert gbc(F, y) < gbc(F[1:], y[1:]) - 0.01
    assert np.isfinite(gbc(np.repeat([[0.0], [1.0]], 3, axis=0), [0, 0, 0, 1, 1, 1]))


def test_torch_and_refusals(case):
    torch = pytest.importorskip("torch")
    F, y = case
    assert gbc(torch.tensor(F), y) == pytest.approx(gbc(F, y))
    with pytest.raises(UsageError, match="full"):
        gbc(F, y, covariance="full")
