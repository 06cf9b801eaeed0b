"""Kernels, the bandwidth and the maps against scikit-learn and by hand."""

from __future__ import annotations

import pickle

import numpy as np
from array_api_compat import numpy as xp
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel

from isthmus.adapt import kernels


def test_rbf_and_the_median_heuristic():
    X = np.random.default_rng(0).normal(size=(50, 3)) + 100
    np.testing.assert_allclose(kernels.rbf(xp, X, X[:9], 0.3), rbf_kernel(X, X[:9], gamma=0.3))
    want = 1 / np.median(pdist(X, "sqeuclidean"))
    np.testing.assert_allclose(kernels.median_gamma(xp, X), want)
    assert kernels.median_gamma(xp, np.ones((5, 2))) == 1


def test_the_median_of_many_rows_does_not_depend_on_their_order():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 4))
    a, b = kernels.median_gamma(xp, X), kernels.median_gamma(xp, X[rng.permutation(3000)])
    assert a == b and abs(a * np.median(pdist(X[:500], "sqeuclidean")) - 1) < 0.05


def test_nystroem_on_all_rows_gives_the_kernel_and_blocks_give_the_same(monkeypatch):
    X = np.random.default_rng(2).normal(size=(80, 3))
    features = kernels.nystroem(xp, X, 0.4, landmarks=80, random_state=0)
    whole = features(X)
    np.testing.assert_allclose(whole @ whole.T, rbf_kernel(X, gamma=0.4), atol=1e-7)
    monkeypatch.setattr(kernels, "BLOCK", 32)
    np.testing.assert_allclose(features(X), whole, atol=1e-9)
    monkeypatch.setattr(kernels, "WIDE", 100)
    assert features(X).dtype == np.float32


def test_preparation_has_no_unit():
    X = np.random.default_rng(3).normal(size=(40, 3)) + 5
    a, b = (kernels.prepare(xp, s * X, normalize=False)(s * X) for s in (1.0, 1e6))
    np.testing.assert_allclose(a, b, rtol=1e-9)
    np.testing.assert_allclose((a**2).sum(axis=1).mean(), 1)
    same = np.full((4, 2), 0.1)
    assert np.abs(kernels.prepare(xp, same, normalize=False)(same)).max() < 1e-12


def test_unit_rows_leave_zeros_alone():
    np.testing.assert_allclose(
        kernels.unit_rows(xp, np.array([[3.0, 4], [0, 0]])), [[0.6, 0.8], [0, 0]]
    )


def test_a_projection_in_blocks_is_the_same_and_picklable(monkeypatch):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(70, 3))
    before = kernels.prepare(xp, X, normalize=False)
    kernel = kernels.Kernel(before(X)[:20], 0.5)
    project = kernels.Projection(before, kernel, rng.normal(size=(20, 2)), True)
    whole = pickle.loads(pickle.dumps(project))(X)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1)
    monkeypatch.setattr(kernels, "BLOCK", 16)
    np.testing.assert_allclose(project(X), whole, atol=1e-12)


def test_middles_settle_on_the_means_of_their_rows():
    rng = np.random.default_rng(5)
    X = np.r_[rng.normal(size=(60, 2)), rng.normal(size=(40, 2)) + 20]
    start = np.array([[1.0, 0], [18, 18], [-500, 0]])
    got = kernels.settle(xp, X, start)
    np.testing.assert_allclose(got[:2], [X[:60].mean(0), X[60:].mean(0)], rtol=1e-9)
    np.testing.assert_array_equal(got[2], start[2])  # nobody's middle stays where it is


def test_settled_landmarks_come_nearer_to_the_kernel_than_drawn_ones(monkeypatch):
    X = np.random.default_rng(6).normal(size=(400, 3))
    K, error = rbf_kernel(X, gamma=0.2), {}
    for how in ("settled", "drawn"):
        if how == "drawn":
            monkeypatch.setattr(kernels, "settle", lambda xp, rows, middles, **_: middles)
        F = kernels.nystroem(xp, X, 0.2, landmarks=30, random_state=0)(X)
        error[how] = np.linalg.norm(F @ F.T - K)
    assert error["settled"] < 0.8 * error["drawn"]


def test_the_number_of_landmarks_follows_from_the_rows_where_it_is_left_open():
    assert kernels.landmark_count(1500, None) == 1500  # every row: the kernel is exact
    assert kernels.landmark_count(50_000, None) == 2000
    assert kernels.landmark_count(200_000, None) == 1000  # the same work as 50,000 with 2,000
    assert kernels.landmark_count(200_000, None, most=1000) == 500
    assert kernels.landmark_count(200_000, 250) == 250
    assert kernels.landmark_count(100, 250) == 100
