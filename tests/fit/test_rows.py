"""Rows: centring, rotation and block reading are exact whatever the shape and the type."""

import numpy as np
import pytest

from isthmus.fit import rows as module
from isthmus.fit.rows import Rows, scatter, weighted_mean


@pytest.mark.parametrize("shape", [(300, 8), (8, 300), (50, 50)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_coefficients_in_coordinates_give_the_products_of_the_features(shape, dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=shape) + 5).astype(dtype)
    rows = Rows(X, np.ones(len(X)))
    U = rng.normal(size=(3, rows.r))
    z = np.concatenate([block @ rows.push(U).T for _, block in rows.blocks(np.float64, 4)])
    expected = (X.astype(float) - rows.mean) @ rows.coef(U).T
    assert np.allclose(z, expected, atol=1e-6)
    assert np.isclose(np.linalg.norm(U), np.linalg.norm(rows.coef(U)))  # the penalty is unchanged
    variance = ((X.astype(float) - X.astype(float).mean(axis=0)) ** 2).sum(axis=1).mean()
    assert rows.total == pytest.approx(variance, rel=1e-6)


def test_coordinates_are_uncorrelated_and_as_wide_as_the_spectrum_says():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    rows = Rows(X, np.ones(500))
    V = rows.push(np.eye(6))
    z = (X - rows.mean) @ V.T
    assert np.allclose(z.T @ z / 500, np.diag(rows.spectrum), atol=1e-8)


def test_weighted_moments():
    rng = np.random.default_rng(2)
    X, w = rng.normal(size=(100, 4)) + 1e6, rng.integers(0, 3, 100).astype(float)
    again = np.repeat(X, w.astype(int), axis=0)
    assert np.allclose(weighted_mean(X, w), again.mean(axis=0), rtol=1e-12)
    S = scatter(X, again.mean(axis=0), w) / w.sum()
    assert np.allclose(S, np.cov(again.T, bias=True), atol=1e-8)


def test_float32_blocks_keep_the_digits_of_a_shifted_column():
    X = (np.random.default_rng(3).normal(size=(9000, 600)) * 1e-2 + 100).astype(np.float32)
    rows = Rows(X, np.ones(9000))
    part, block = next(rows.blocks(np.float32, 8))
    assert block.dtype == np.float32
    assert np.abs(block - (X[part].astype(float) - rows.mean)).max() < 1e-5


def test_a_solution_is_carried_from_some_rows_to_all():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(300, 7)) + np.arange(7)
    all_rows, some = Rows(X, np.ones(300)), Rows(X[:80], np.ones(80))
    theta = rng.normal(size=(2, 8))
    moved = all_rows.carry(theta, some)
    expected = (X - some.mean) @ some.coef(theta[:, :-1]).T + theta[:, -1]
    got = (X - all_rows.mean) @ all_rows.coef(moved[:, :-1]).T + moved[:, -1]
    assert np.allclose(got, expected)


def test_beyond_the_working_copy_blocks_are_made_on_the_fly(monkeypatch):
    monkeypatch.setattr(module, "WORK_BYTES", 1000)
    X = np.random.default_rng(4).normal(size=(500, 9)).astype(np.float32)
    rows = Rows(X, np.ones(500))
    got = np.concatenate([block for _, block in rows.blocks(np.float32, 8)])
    assert rows._work is None
    assert np.allclose(got, X - X.mean(axis=0), atol=1e-6)


def test_more_features_and_rows_than_the_basis_allows(monkeypatch):
    monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    X = np.random.default_rng(5).normal(size=(60, 20)) * np.arange(1, 21)
    rows = Rows(X, np.ones(60))
    assert rows.r == 20
    assert np.allclose(rows.spectrum, X.var(axis=0))
    assert np.allclose(rows.coef(np.eye(20)), np.eye(20))
