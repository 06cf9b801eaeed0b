"""The Gaussian ratio against scipy's densities and scikit-learn's shrinkage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from isthmus.adapt.gaussian_ratio import GaussianRatio, shrunk
from isthmus.errors import UsageError


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    mix = np.eye(4) + 0.2 * rng.normal(size=(4, 4))
    return rng.normal(size=(300, 4)), 0.7 * rng.normal(size=(250, 4)) @ mix + 0.4


def test_equals_the_ratio_of_scipys_densities(domains):
    Xs, Xt = domains
    want = np.exp(
        multivariate_normal(Xt.mean(0), np.cov(Xt.T, bias=True)).logpdf(Xs)
        - multivariate_normal(Xs.mean(0), np.cov(Xs.T, bias=True)).logpdf(Xs)
    )
    got = GaussianRatio(0.0, clip=1e9).adapt(Xs, None, Xt)
    np.testing.assert_allclose(got.weights, want / want.mean(), rtol=1e-6)


def test_shrinkage_is_ledoit_and_wolfs(domains):
    X = domains[1] - domains[1].mean(0)
    want, amount = ledoit_wolf(X, assume_centered=True)
    got, mine = shrunk(np, X, "ledoit-wolf")
    assert mine == pytest.approx(amount)
    np.testing.assert_allclose(got, want)


def test_many_features_do_not_overflow():
    rng = np.random.default_rng(1)
    Xs, Xt = rng.normal(size=(50, 400)), 3 * rng.normal(size=(40, 400)) + 5
    got = GaussianRatio().adapt(Xs, None, Xt)
    assert np.isfinite(got.weights).all()
    assert "low-overlap" in {t.code for t in got.troubles}


def test_fewer_rows_than_features_without_shrinkage_is_said():
    rng = np.random.default_rng(1)
    got = GaussianRatio(0.0).adapt(rng.normal(size=(50, 20)), None, rng.normal(size=(9, 20)))
    assert "singular" in {t.code for t in got.troubles}


def test_two_modes_are_where_it_fails():
    """The target is the two outer thirds of the source: one Gaussian weighs the empty middle."""
    x = np.linspace(-3, 3, 601)[:, None]
    weights = GaussianRatio().adapt(x, None, x[np.abs(x[:, 0]) > 1]).weights
    assert weights[np.abs(x[:, 0]) < 1].mean() > 0.5


def test_an_odd_shrinkage_is_refused(domains):
    with pytest.raises(UsageError, match="shrinkage"):
        GaussianRatio(1.5).adapt(domains[0], None, domains[1])
