"""The eigensolvers against scipy, dense and iterative."""

from __future__ import annotations

import numpy as np
import pytest
from array_api_compat import numpy as xp
from scipy.linalg import eigh

from isthmus.adapt import eigen


def matrix(order, decay, seed=0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(order, order)))[0]
    return (Q * decay ** np.arange(order)) @ Q.T


@pytest.mark.parametrize("order, decay", [(50, 0.9), (500, 0.9), (500, 0.995)])
def test_leading_pairs_equal_a_dense_solver(order, decay):
    S = matrix(order, decay)
    got = eigen.leading(xp, lambda V: S @ V, order, 6, like=S)
    values, vectors = np.linalg.eigh(S)
    assert got.trouble is None
    np.testing.assert_allclose(got.values, values[::-1][:6], rtol=1e-8)
    np.testing.assert_allclose(
        np.abs(np.diag(got.vectors.T @ vectors[:, ::-1][:, :6])), 1, rtol=1e-8
    )


def test_low_rank_operators_do_not_break_the_iteration():
    rng = np.random.default_rng(1)
    L = rng.normal(size=(600, 7))
    got = eigen.leading(xp, lambda V: L @ (L.T @ V), 600, 10, like=L)
    want = np.r_[np.linalg.eigvalsh(L.T @ L)[::-1], np.zeros(3)]
    np.testing.assert_allclose(got.values, want, atol=1e-7)


def test_an_iteration_that_is_stopped_says_so(monkeypatch):
    monkeypatch.setattr(eigen, "RESTARTS", 1)
    S = matrix(600, 0.9999)
    got = eigen.leading(xp, lambda V: S @ V, 600, 6, like=S)
    assert got.trouble.code == "not-converged" and "residual" in got.trouble.reason


@pytest.mark.parametrize("order, contrasts", [(40, 3), (40, 60), (450, 5)])
def test_constrained_pairs_equal_the_generalised_problem(order, contrasts):
    rng = np.random.default_rng(2)
    B, G = matrix(order, 0.9), 3 * rng.normal(size=(contrasts, order))
    got = eigen.constrained(xp, lambda V: B @ V, G, 0.7, 4)
    values, W = eigh(B, G.T @ G + 0.7 * np.eye(order))
    W = W[:, ::-1][:, :4]
    np.testing.assert_allclose(got.values, values[::-1][:4], rtol=1e-7)
    np.testing.assert_allclose(
        np.abs(got.vectors), np.abs(W / np.linalg.norm(W, axis=0)), atol=1e-6
    )


def test_dependent_contrasts_are_no_trouble():
    B, G = matrix(30, 0.9), np.ones((3, 30))
    got = eigen.constrained(xp, lambda V: B @ V, G, 1.0, 2)
    values = eigh(B, G.T @ G + np.eye(30), eigvals_only=True)
    np.testing.assert_allclose(got.values, values[::-1][:2], rtol=1e-9)


def test_signs_are_settled_by_the_largest_entry():
    V = np.array([[1.0, -2.0], [-3.0, 1.0]])
    np.testing.assert_array_equal(eigen.signed(xp, V), [[-1, 2], [3, -1]])
