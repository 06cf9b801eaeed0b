"""CORAL against its definition: afterwards the two covariances agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from isthmus.adapt.coral import CORAL


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 5))
    return rng.normal(size=(400, 5)), np.zeros(400), rng.normal(size=(300, 5)) @ mix + 3


def test_without_ridge_the_covariances_and_means_agree(domains):
    Xs, ys, Xt = domains
    got = CORAL(reg=0).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(np.cov(got.Xs.T), np.cov(Xt.T), rtol=1e-8)
    np.testing.assert_allclose(got.Xs.mean(0), Xt.mean(0), atol=1e-10)


def test_equals_the_formula_with_matrix_square_roots(domains):
    Xs, ys, Xt = domains
    cs, ct = np.cov(Xs.T) + np.eye(5), np.cov(Xt.T) + np.eye(5)
    want = (Xs - Xs.mean(0)) @ np.linalg.inv(sqrtm(cs)) @ sqrtm(ct) + Xt.mean(0)
    np.testing.assert_allclose(CORAL().adapt(Xs, ys, Xt).Xs, want, rtol=1e-8)


def test_equal_domains_are_left_alone(domains):
    Xs, ys, _ = domains
    np.testing.assert_allclose(CORAL().adapt(Xs, ys, Xs).Xs, Xs, atol=1e-10)


def test_too_few_rows_without_ridge_is_said(domains):
    Xs, ys, Xt = domains
    (trouble,) = CORAL(reg=0).adapt(Xs, ys, Xt[:4]).troubles
    assert trouble.code == "singular" and "reg" in trouble.remedy
