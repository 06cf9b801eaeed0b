"""Biased regularisation: the basis, the comparison of strengths, and the walk along them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from isthmus.adapt import biased
from isthmus.adapt.biased import Shrunk, basis, calibrated_loss, choose, held_out, spread, strengths
from isthmus.adapt.linear_source import LinearSource
from isthmus.errors import UsageError


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
def test_the_basis_gives_the_rows_back(shape):
    A = np.random.default_rng(0).normal(size=shape)
    A[-1] = A[0]  # rank is one less than the rows
    R, V, squared = basis(A)
    np.testing.assert_allclose(R @ V, A, atol=1e-10)
    np.testing.assert_allclose(V @ V.T, np.eye(len(V)), atol=1e-7)
    np.testing.assert_allclose(R.T @ R, np.diag(squared), atol=1e-8)
    assert len(V) == np.linalg.matrix_rank(A)


@pytest.mark.parametrize("classes", [2, 4])
def test_calibrated_loss_is_the_log_loss_at_the_best_temperature(classes):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, classes, 200)
    z = rng.normal(size=(200, classes)) + 1.5 * np.eye(classes)[codes]
    given = z[:, 1:] - z[:, :1] if classes == 2 else z

    def loss(log_heat):
        p = np.exp(np.exp(log_heat) * z)
        return log_loss(codes, p / p.sum(1, keepdims=True))

    want = minimize_scalar(loss, bounds=(-5, 5), method="bounded").fun
    assert calibrated_loss(given, codes) == pytest.approx(want, abs=1e-5)
    assert calibrated_loss(100 * given, codes) == pytest.approx(want, abs=1e-4)
    # scores that point the wrong way are worth a guess at best
    assert calibrated_loss(-given, codes) == pytest.approx(np.log(classes), abs=0.01)


def test_the_walk_crosses_level_ground_and_stops_on_a_slope(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    codes = (X[:, 0] > 0).astype(int)
    centre, variance = spread(X)

    def tried(source):
        problem = Shrunk(X, source, centre=centre, variance=variance, free=False)
        return choose(
            problem,
            X,
            codes,
            lambda at: np.where(codes[at][:, None] == 1, 1.0, -1.0),
            "logistic",
            strengths("cv", variance),
            variance=variance,
            cv=5,
            max_rows=2000,
            seed=0,
        )

    opposite = tried(LinearSource(np.array([[-3.0, 0, 0]]), np.zeros(1), np.arange(2)))
    assert opposite.strength < 0.1 * variance and opposite.losses[np.inf] > 0.69
    right = tried(LinearSource(np.array([[3.0, 0, 0]]), np.zeros(1), np.arange(2)))
    assert right.losses[right.strength] <= right.losses[np.inf] < 0.2
    assert len(right.losses) <= len(biased.GRID)


def test_held_out_rows_do_not_hang_on_the_order_and_every_row_is_held_out():
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(40, 2)), np.arange(40) % 4
    rows, pairs = held_out(X, codes, cv=5, max_rows=2000, seed=0)
    assert len(rows) == 40 and len(pairs) == 15
    assert sorted(np.concatenate([test for _, test in pairs])) == sorted(list(range(40)) * 3)
    for train, test in pairs:
        assert not set(train) & set(test) and set(codes[train]) == {0, 1, 2, 3}
    p = rng.permutation(40)
    _, again = held_out(X[p], codes[p], cv=5, max_rows=2000, seed=0)
    assert {frozenset(p[t]) for _, t in again} == {frozenset(t) for _, t in pairs}
    few, _ = held_out(X, codes, cv=5, max_rows=16, seed=0)
    assert len(few) == 16


def test_strengths_are_in_units_of_the_variance():
    assert strengths("cv", 4.0)[0] == np.inf and strengths("cv", 4.0)[-1] == pytest.approx(4e-4)
    assert strengths([1, 3, 2], 4.0) == [3.0, 2.0, 1.0]
    for wrong in ("best", -1.0, [1.0, np.nan]):
        with pytest.raises(UsageError, match="strength"):
            strengths(wrong, 1.0)
