"""Domain-classifier weights: the true ratio where it is log-linear, scikit-learn's solution."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.domain_classifier_weights import DomainClassifierWeights, newton


def test_finds_the_known_ratio_of_moved_gaussians():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(800, 3)), rng.normal((0.8, 0, 0), size=(500, 3))
    true = np.exp(0.8 * Xs[:, 0] - 0.32)  # log-linear: the model is right
    got = DomainClassifierWeights().adapt(Xs, None, Xt)
    assert np.corrcoef(got.weights, true)[0, 1] > 0.97
    assert got.info["domain_auc"] == pytest.approx(0.714, abs=0.04)  # Phi(0.8 / sqrt 2)


def test_newton_reaches_scikit_learns_optimum():
    rng = np.random.default_rng(1)
    Zs, Zt = rng.normal(size=(200, 4)), rng.normal(size=(100, 4)) + 0.5
    w, b, fine = newton(np, Zs, Zt, 2.0)
    want = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000, class_weight="balanced").fit(
        np.r_[Zs, Zt], np.repeat([0, 1], [200, 100])
    )
    assert fine
    np.testing.assert_allclose(w, want.coef_[0], atol=1e-5)
    assert b == pytest.approx(want.intercept_[0], abs=1e-5)


def test_equal_domains_keep_nearly_all_rows_although_features_are_many():
    """In-sample odds of 60 features would be far from 1; held-out ones are not."""
    rng = np.random.default_rng(2)
    got = DomainClassifierWeights(reg=10.0).adapt(
        rng.normal(size=(300, 60)), None, rng.normal(size=(300, 60))
    )
    assert abs(got.info["domain_auc"] - 0.5) < 0.08
    assert got.info["effective_sample_size"] > 100


def test_spread_alone_is_where_it_fails():
    """Same mean, half the spread: a linear classifier sees nothing, all weights stay near 1."""
    rng = np.random.default_rng(3)
    Xs = rng.normal(size=(1000, 1))
    got = DomainClassifierWeights().adapt(Xs, None, 0.5 * rng.normal(size=(1000, 1)))
    assert np.std(got.weights) < 0.2


def test_fitting_on_fewer_rows_gives_nearly_the_same():
    rng = np.random.default_rng(4)
    Xs, Xt = rng.normal(size=(900, 3)), rng.normal(size=(900, 3)) + 0.5
    a, b = (
        DomainClassifierWeights(solver=s, max_exact=300).adapt(Xs, None, Xt)
        for s in ("exact", "approximate")
    )
    assert np.corrcoef(a.weights, b.weights)[0, 1] > 0.97


def test_one_target_row_is_said():
    rng = np.random.default_rng(5)
    got = DomainClassifierWeights().adapt(rng.normal(size=(30, 2)), None, np.ones((1, 2)))
    assert "in-sample" in {t.code for t in got.troubles}
