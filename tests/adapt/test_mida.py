"""MIDA against its symmetric eigenproblem; independence of the domain, for better and worse."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.mida import MIDA
from isthmus.errors import UsageError


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6)) * 0.8 ** np.arange(6)
    return rng.normal(size=(45, 6)) @ mix + 1, rng.normal(size=(35, 6)) @ mix


def dense(K, ns, k, trade_off):
    """Eq. 6 of the paper with the one-hot domain as the feature."""
    n = len(K)
    H = np.eye(n) - 1 / n
    D = np.zeros((n, 2))
    D[:ns, 0], D[ns:, 1] = 1, 1
    _, W = np.linalg.eigh(K @ (trade_off * H - H @ D @ D.T @ H) @ K)
    Z = K @ W[:, -k:]
    return Z / np.sqrt(((Z - Z.mean(0)) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("trade_off", [1.0, 50.0])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_equals_the_dense_problem(domains, kernel, trade_off):
    Xs, Xt = domains
    X = np.r_[Xs, Xt]
    C = X - X.mean(0)
    if kernel == "linear":
        K = C @ C.T / (C**2).sum(axis=1).mean()
    else:
        K = rbf_kernel(X, gamma=0.1)
    gamma = 0.1 if kernel == "rbf" else None
    got = MIDA(3, kernel=kernel, gamma=gamma, trade_off=trade_off).adapt(Xs, None, Xt)
    Z = dense(K, 45, 3, trade_off)
    np.testing.assert_allclose(got.Xs @ got.map_target(Xt).T, Z[:45] @ Z[45:].T, atol=1e-7)


def test_a_large_trade_off_is_pca_of_the_kernel(domains):
    Xs, Xt = domains
    got = MIDA(2, trade_off=1e9).adapt(Xs, None, Xt)
    X = np.r_[Xs, Xt]
    C = X - X.mean(0)
    U, s, _ = np.linalg.svd(C, full_matrices=False)
    Z = U[:, :2] * s[:2] ** 2
    Z /= np.sqrt((Z**2).sum(axis=1).mean())
    np.testing.assert_allclose(np.abs(got.Xs), np.abs(Z[:45]), atol=1e-6)


def shifted(ys, yt, by):
    rng = np.random.default_rng(2)
    Xs, Xt = rng.normal(size=(len(ys), 5)), rng.normal(size=(len(yt), 5)) + by
    Xs[:, 0] += 6 * (ys - 0.5)
    Xt[:, 0] += 6 * (yt - 0.5)
    Xs[:, 1] *= 3
    Xt[:, 1] *= 3
    got = MIDA(2).adapt(Xs, ys, Xt)
    return tuple(
        float(np.mean(KNeighborsClassifier(1).fit(rows, ys).predict(new) == yt))
        for rows, new in ((Xs, Xt), (got.Xs, got.map_target(Xt)))
    )


def test_helps_when_a_direction_without_labels_moved():
    y = np.arange(200) % 2
    before, after = shifted(y, y, [0, 15, 0, 0, 0])
    assert before < 0.9 < 0.97 < after


def test_fails_when_the_class_shares_differ():
    """The label then depends on the domain, and goes with it."""
    ys, yt = (np.arange(200) % 10 > 0).astype(int), (np.arange(200) % 10 == 0).astype(int)
    before, after = shifted(ys, yt, np.zeros(5))
    assert before > 0.97 and after < 0.6


def test_the_primal_form_is_refused(domains):
    Xs, Xt = domains
    with pytest.raises(UsageError, match="primal"):
        MIDA(kernel="primal").adapt(Xs, None, Xt)
