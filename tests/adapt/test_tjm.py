"""TJM against its reweighting loop solved densely, and the shifts it can and cannot mend."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.tca import TCA
from isthmus.adapt.tjm import TJM
from isthmus.errors import UsageError


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def dense(K, ns, *, k, trade_off, rounds):
    """The authors' loop; coefficients have columns of unit length."""
    n = len(K)
    e = np.r_[np.full(ns, 1 / ns), np.full(n - ns, -1 / (n - ns))]
    e /= np.linalg.norm(e)
    H, weights = np.eye(n) - 1 / n, np.ones(n)
    for _ in range(rounds):
        system = np.outer(K @ e, K @ e) + trade_off * np.diag(weights)
        _, A = eigh(K @ H @ K, system, subset_by_index=(n - k, n - 1))
        A /= np.linalg.norm(A, axis=0)
        size = np.linalg.norm(A[:ns], axis=1)
        weights[:ns] = 1 / (size + 1e-3 * size.mean())
    return unit(K @ A)


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6)) * 0.8 ** np.arange(6)
    return rng.normal(size=(40, 6)) @ mix + 0.4, rng.normal(size=(30, 6)) @ mix


@pytest.mark.parametrize("rounds", [1, 2, 4])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_equals_the_dense_loop(domains, kernel, rounds):
    Xs, Xt = domains
    X = unit(np.r_[Xs, Xt])
    K = X @ X.T
    if kernel == "rbf":
        K = np.exp(-0.7 * (2 - 2 * K))
    got = TJM(3, kernel=kernel, gamma=0.7, normalize=True, max_iter=rounds).adapt(Xs, None, Xt)
    Z = dense(K, 40, k=3, trade_off=1.0, rounds=rounds)
    ours = np.r_[got.Xs, got.map_target(Xt)]
    np.testing.assert_allclose(ours @ ours.T, Z @ Z.T, atol=1e-5)


def test_one_round_is_tca(domains):
    Xs, Xt = domains
    a, b = TJM(3, max_iter=1).adapt(Xs, None, Xt), TCA(3).adapt(Xs, None, Xt)
    np.testing.assert_allclose(a.Xs, b.Xs, atol=1e-9)


def test_nystroem_on_all_rows_is_the_exact_kernel(domains):
    Xs, Xt = domains
    exact = TJM(3, kernel="rbf", max_iter=3).adapt(Xs, None, Xt)
    nearly = TJM(3, kernel="rbf", max_iter=3, solver="approximate", landmarks=70)
    got = nearly.adapt(Xs, None, Xt)
    assert got.info["solver"] == "nystroem"
    np.testing.assert_allclose(got.Xs @ got.Xs.T, exact.Xs @ exact.Xs.T, atol=1e-3)


def test_source_rows_unlike_the_target_fade():
    """Rows that lie where no component looks need no coefficients."""
    rng = np.random.default_rng(1)
    common = np.c_[3 * rng.normal(size=(120, 2)), np.zeros((120, 2))]
    odd = np.c_[np.zeros((20, 2)), 0.3 * rng.normal(size=(20, 2))]
    got = TJM(2).adapt(np.r_[common[:60], odd], None, common[60:])
    assert got.info["faded_rows"] >= 20


def shifted(by):
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    Xs, Xt = rng.normal(size=(200, 5)), rng.normal(size=(200, 5)) + by
    for X in (Xs, Xt):
        X[:, 0] += 6 * (y - 0.5)
        X[:, 1] *= 3
    got = TJM(1).adapt(Xs, y, Xt)
    return tuple(
        float(np.mean(KNeighborsClassifier(1).fit(rows, y).predict(new) == y))
        for rows, new in ((Xs, Xt), (got.Xs, got.map_target(Xt)))
    )


def test_helps_when_a_direction_without_labels_moved():
    before, after = shifted([0, 15, 0, 0, 0])
    assert before < 0.6 < 0.95 < after


def test_fails_when_the_classes_moved_along_their_own_direction():
    before, after = shifted([6, 0, 0, 0, 0])
    assert before < 0.6 and after < 0.75


def test_the_primal_form_is_refused(domains):
    Xs, Xt = domains
    with pytest.raises(UsageError, match="primal"):
        TJM(kernel="primal").adapt(Xs, None, Xt)
