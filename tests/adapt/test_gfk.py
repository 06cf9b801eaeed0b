"""GFK against the integral over the geodesic, done numerically."""

from __future__ import annotations

import numpy as np
import pytest
from array_api_compat import numpy as xp
from scipy.integrate import quad_vec
from scipy.linalg import expm, qr
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.gfk import GFK, flow


def geodesic(Ps, Pt):
    """t -> orthonormal basis on the geodesic, by the matrix exponential (no closed form)."""
    d, k = Ps.shape
    Q = np.c_[Ps, qr(Ps)[0][:, k:]]
    a, b = (Q.T @ Pt)[:k], (Q.T @ Pt)[k:]
    # the tangent that leads to Pt: arctan of (b a^-1)
    U, s, Vt = np.linalg.svd(b @ np.linalg.inv(a), full_matrices=False)
    tangent = U @ np.diag(np.arctan(s)) @ Vt
    generator = np.zeros((d, d))
    generator[k:, :k], generator[:k, k:] = tangent, -tangent.T
    return lambda t: Q @ expm(t * generator)[:, :k]


@pytest.mark.parametrize("d, k", [(6, 2), (9, 4), (5, 4)])
def test_equals_the_integral(d, k):
    rng = np.random.default_rng(d)
    Ps, Pt = (qr(rng.normal(size=(d, k)), mode="economic")[0] for _ in range(2))
    basis = geodesic(Ps, Pt)
    np.testing.assert_allclose(basis(1) @ basis(1).T, Pt @ Pt.T, atol=1e-9)
    want, _ = quad_vec(lambda t: basis(t) @ basis(t).T, 0, 1, epsabs=1e-10)
    root, angles = flow(xp, Ps, Pt)
    np.testing.assert_allclose(root @ root.T, want, atol=1e-8)
    cosines = np.linalg.svd(Ps.T @ Pt, compute_uv=False)
    np.testing.assert_allclose(np.sort(np.cos(angles))[::-1], cosines, atol=1e-9)


def test_one_subspace_gives_its_projection():
    P = qr(np.random.default_rng(0).normal(size=(7, 3)), mode="economic")[0]
    root, angles = flow(xp, P, P)
    np.testing.assert_allclose(root @ root.T, P @ P.T, atol=1e-9)
    assert np.abs(angles).max() < 1e-6


def test_rows_have_the_inner_products_of_the_kernel():
    rng = np.random.default_rng(1)
    Xs, Xt = rng.normal(size=(40, 8)), rng.normal(size=(30, 8)) @ rng.normal(size=(8, 8))
    Ps, Pt = PCA(3).fit(Xs).components_.T, PCA(3).fit(Xt).components_.T
    root, _ = flow(xp, Ps, Pt)
    got = GFK(3).adapt(Xs, None, Xt)
    np.testing.assert_allclose(got.Xs @ got.map_target(Xt).T, Xs @ root @ root.T @ Xt.T, atol=1e-8)


def turned(angle, plane):
    rng = np.random.default_rng(1)
    y = np.arange(300) % 2
    X = rng.normal(size=(600, 6)) * [0.5, 3, 0.1, 0.1, 0.1, 0.1]
    X[:, 0] += 8 * (np.r_[y, y] - 0.5)
    turn = np.eye(6)
    i, j = plane
    turn[[i, i, j, j], [i, j, i, j]] = [np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)]
    Xs, Xt = X[:300], X[300:] @ turn
    got = GFK(2).adapt(Xs, None, Xt)
    before, after = (
        float(np.mean(KNeighborsClassifier(1).fit(rows, y).predict(new) == y))
        for rows, new in ((Xs, Xt), (got.Xs, got.map_target(Xt)))
    )
    return before, after


def test_helps_when_the_subspace_is_turned_out_of_itself():
    before, after = turned(np.radians(89), (0, 3))
    assert before < 0.8 < 0.98 < after


def test_fails_when_the_turn_is_within_the_subspace():
    before, after = turned(np.radians(90), (0, 1))
    assert before < 0.7 and after < 0.7
