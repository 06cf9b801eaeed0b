"""The linear Monge map against its closed form and POT's own estimator."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from isthmus.adapt.linear_monge import LinearMonge
from isthmus.errors import IsthmusError

ot = pytest.importorskip("ot")


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 5))
    return rng.normal(size=(400, 5)) * 2, np.zeros(400), rng.normal(size=(300, 5)) @ mix + 3


def test_equals_the_closed_form_between_gaussians(domains):
    Xs, ys, Xt = domains
    cs, ct = np.cov(Xs.T), np.cov(Xt.T)
    root = sqrtm(cs)
    inverse = np.linalg.inv(root)
    want = (Xs - Xs.mean(0)) @ (inverse @ sqrtm(root @ ct @ root) @ inverse) + Xt.mean(0)
    got = LinearMonge(reg=0).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(got.Xs, want, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(np.cov(got.Xs.T), ct, rtol=1e-7)


def test_a_symmetric_positive_map_is_recovered_exactly():
    rng = np.random.default_rng(1)
    Xs, root = rng.normal(size=(200, 4)), rng.normal(size=(4, 4))
    Xt = Xs @ (root @ root.T + np.eye(4)) + [1.0, 2, 3, 4]
    np.testing.assert_allclose(LinearMonge(reg=0).adapt(Xs, Xs[:, 0], Xt).Xs, Xt, atol=1e-8)


def test_equals_the_transport_class_of_pot(domains):
    Xs, ys, Xt = domains
    theirs = ot.da.LinearTransport(reg=1e-12).fit(Xs=Xs, Xt=Xt).transform(Xs=Xs)
    ours = LinearMonge(reg=0).adapt(Xs, ys, Xt).Xs
    # POT divides covariances by n, we by n - 1: 400 and 300 rows differ by 4e-4
    np.testing.assert_allclose(ours, theirs, atol=1e-2)


def test_the_ridge_follows_the_scale_of_the_features(domains):
    Xs, ys, Xt = domains
    a, b = LinearMonge(reg=0.5).adapt(Xs, ys, Xt), LinearMonge(reg=0.5).adapt(Xs * 9, ys, Xt * 9)
    np.testing.assert_allclose(a.Xs * 9, b.Xs, rtol=1e-8, atol=1e-8)


def test_a_singular_source_is_refused_or_said(domains):
    Xs, ys, Xt = domains
    flat = np.c_[Xs, Xs[:, :1]]
    wide = np.c_[Xt, Xt[:, :1]]
    try:
        troubles = LinearMonge(reg=0).adapt(flat, ys, wide).troubles
    except IsthmusError as error:
        assert "reg" in str(error)
    else:
        assert [t.code for t in troubles] == ["singular"] and "reg" in troubles[0].remedy
    assert LinearMonge().adapt(flat, ys, wide).troubles == ()
