"""JGSA against its generalised eigenproblem solved densely."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.jgsa import JGSA
from isthmus.errors import UsageError


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def dense(Xs, ys, Xt, pseudo, *, k, alpha=1.0, mu=1.0, beta=0.1):
    """Eq. 12 of the paper for given pseudo-labels: the two projections, columns of unit length."""
    ns, nt, d, classes = len(Xs), len(Xt), Xs.shape[1], np.unique(ys)
    between, within = np.zeros((d, d)), np.zeros((d, d))
    es, et = np.full(ns, 1 / ns), np.full(nt, -1 / nt)
    vectors = [np.sqrt(len(classes)) * np.r_[es, et]]
    for c in classes:
        rows = Xs[ys == c]
        gap = rows.mean(0) - Xs.mean(0)
        between += len(rows) * np.outer(gap, gap)
        within += (rows - rows.mean(0)).T @ (rows - rows.mean(0))
        vectors.append(np.r_[(ys == c) / (ys == c).sum(), (pseudo == c) / -(pseudo == c).sum()])
    M = sum(np.outer(e, e) for e in vectors)
    M /= vectors[0] @ vectors[0]  # the authors' scale: the norm of the domains' part
    both = np.block([[Xs, np.zeros((ns, d))], [np.zeros((nt, d)), Xt]])
    eye = np.eye(d)
    Q = both.T @ M @ both + np.block(
        [[alpha * eye + beta * within, -alpha * eye], [-alpha * eye, (alpha + mu) * eye]]
    )
    centred = Xt - Xt.mean(0)
    P = np.block([[beta * between, np.zeros((d, d))], [np.zeros((d, d)), mu * centred.T @ centred]])
    _, W = eigh(P, Q, subset_by_index=(2 * d - k, 2 * d - 1))
    W /= np.linalg.norm(W, axis=0)
    return W[:d], W[d:]


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(60) % 3, np.arange(48) % 3
    middle = 3 * rng.normal(size=(3, 5))
    return rng.normal(size=(60, 5)) + middle[ys], ys, rng.normal(size=(48, 5)) + middle[yt] + 1, yt


@pytest.mark.parametrize("rounds", [1, 3])
def test_equals_the_dense_problem(domains, rounds):
    Xs, ys, Xt = unit(domains[0]), domains[1], unit(domains[2])
    pseudo = KNeighborsClassifier(1).fit(Xs, ys).predict(Xt)
    for _ in range(rounds):
        A, B = dense(Xs, ys, Xt, pseudo, k=4)
        pseudo = KNeighborsClassifier(1).fit(Xs @ A, ys).predict(Xt @ B)
    got = JGSA(4, max_iter=rounds, normalize=True).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(got.Xs @ got.Xs.T, Xs @ A @ A.T @ Xs.T, atol=1e-6)
    np.testing.assert_allclose(got.Xs @ got.map_target(Xt).T, Xs @ A @ B.T @ Xt.T, atol=1e-6)


def test_more_features_than_rows_equal_the_dense_problem():
    rng = np.random.default_rng(1)
    ys = np.arange(20) % 2
    Xs, Xt = rng.normal(size=(20, 50)), rng.normal(size=(18, 50))
    Xs[:, 0] += 9 * ys
    Xt[:, 0] += 9 * (np.arange(18) % 2)
    Xs, Xt = unit(Xs), unit(Xt)
    pseudo = KNeighborsClassifier(1).fit(Xs, ys).predict(Xt)
    A, B = dense(Xs, ys, Xt, pseudo, k=3)
    got = JGSA(3, max_iter=1, normalize=True).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(got.Xs @ got.map_target(Xt).T, Xs @ A @ B.T @ Xt.T, atol=1e-6)


def test_a_large_alpha_makes_the_projections_one(domains):
    Xs, ys, Xt, _ = domains
    got = JGSA(3, alpha=1e7, max_iter=1).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(got.Xs, got.map_target(Xs), rtol=1e-2, atol=1e-3)


def spun(degrees):
    """Two classes in a plane of 4 dimensions; the target turned in the plane of dimensions 0, 2."""
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    X = rng.normal(size=(400, 4)) * [0.5, 3, 0.3, 0.3]
    X[:, 0] += 6 * (np.r_[y, y] - 0.5)
    a = np.radians(degrees)
    turn = np.eye(4)
    turn[[0, 0, 2, 2], [0, 2, 0, 2]] = np.cos(a), np.sin(a), -np.sin(a), np.cos(a)
    Xs, Xt = X[:200], X[200:] @ turn
    got = JGSA(2).adapt(Xs, y, Xt)
    return tuple(
        float(np.mean(KNeighborsClassifier(1).fit(rows, y).predict(new) == y))
        for rows, new in ((Xs, Xt), (got.Xs, got.map_target(Xt)))
    )


def test_helps_when_the_domains_need_projections_of_their_own():
    before, after = spun(85)
    assert before < 0.8 < 0.97 < after


def test_fails_when_the_turn_swaps_the_classes():
    before, after = spun(170)
    assert before < 0.1 and after < 0.1


def test_parameters_out_of_range_are_refused(domains):
    Xs, ys, Xt, _ = domains
    for bad in (JGSA(0), JGSA(alpha=0), JGSA(mu=-1), JGSA(beta=-1), JGSA(solver="fast")):
        with pytest.raises(UsageError):
            bad.adapt(Xs, ys, Xt)
