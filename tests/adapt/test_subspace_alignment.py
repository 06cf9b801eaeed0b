"""Subspace alignment against skada and its own formula; rotations that it sees and cannot see."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.subspace_alignment import SubspaceAlignment


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(9, 9)) * 0.7 ** np.arange(9)
    return rng.normal(size=(80, 9)) @ mix + 1, rng.normal(size=(60, 9)) @ mix.T - 2


def test_equals_the_formula(domains):
    Xs, Xt = domains
    Ps, Pt = PCA(3).fit(Xs).components_.T, PCA(3).fit(Xt).components_.T
    got = SubspaceAlignment(3).adapt(Xs, None, Xt)
    want_s, want_t = (Xs - Xs.mean(0)) @ Ps @ Ps.T @ Pt, (Xt - Xt.mean(0)) @ Pt
    np.testing.assert_allclose(got.Xs @ got.Xs.T, want_s @ want_s.T, atol=1e-9)
    np.testing.assert_allclose(got.Xs @ got.map_target(Xt).T, want_s @ want_t.T, atol=1e-9)
    raw = SubspaceAlignment(3, centre=False).adapt(Xs, None, Xt)
    np.testing.assert_allclose(
        raw.Xs @ raw.map_target(Xt).T, Xs @ Ps @ Ps.T @ Pt @ (Xt @ Pt).T, atol=1e-8
    )


def test_equals_skada(domains):
    skada = pytest.importorskip("skada")
    Xs, Xt = domains
    theirs = skada.SubspaceAlignmentAdapter(n_components=3)
    X, side = np.r_[Xs, Xt], np.r_[np.ones(80, int), -np.ones(60, int)]
    Z = theirs.fit_transform(X, np.zeros(140), sample_domain=side)
    got = SubspaceAlignment(3).adapt(Xs, None, Xt)
    np.testing.assert_allclose(got.Xs @ got.map_target(Xt).T, Z[:80] @ Z[80:].T, atol=1e-8)


def turned(angle, plane):
    """Two classes apart in dimension 0 of 2 strong ones; the target turned in a plane."""
    rng = np.random.default_rng(1)
    y = np.arange(300) % 2
    X = rng.normal(size=(600, 6)) * [0.5, 3, 0.1, 0.1, 0.1, 0.1]
    X[:, 0] += 8 * (np.r_[y, y] - 0.5)
    turn = np.eye(6)
    i, j = plane
    turn[[i, i, j, j], [i, j, i, j]] = [np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)]
    Xs, Xt = X[:300], X[300:] @ turn

    def score(adapter=None):
        rows, new = Xs, Xt
        if adapter:
            got = adapter.adapt(Xs, y, Xt)
            rows, new = got.Xs, got.map_target(Xt)
        return float(np.mean(KNeighborsClassifier(1).fit(rows, y).predict(new) == y))

    return score(), score(SubspaceAlignment(2))


def test_helps_when_the_subspace_is_turned_out_of_itself():
    before, after = turned(np.radians(89), (0, 3))
    assert before < 0.8 < 0.98 < after


def test_fails_when_the_turn_is_within_the_subspace():
    before, after = turned(np.radians(90), (0, 1))
    assert before < 0.7 and after < 0.7


def test_dimension_is_at_most_the_rank(domains):
    Xs, Xt = domains
    got = SubspaceAlignment().adapt(Xs, None, Xt[:4])
    assert got.Xs.shape[1] == 3
