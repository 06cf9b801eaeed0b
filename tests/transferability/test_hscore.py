"""H-score against its definition, canonical correlations, and scikit-learn's shrinkage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from isthmus.transferability.hscore import hscore, ledoit_wolf, regularized_hscore


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 90)
    return rng.normal(size=(90, 6)) @ rng.normal(size=(6, 6)) + 2 * np.eye(6)[y], y


def between(F, y):
    means = np.stack([F[y == c].mean(axis=0) for c in np.unique(y)])[y]
    return np.cov(means.T, bias=True)


def test_definition(case):
    F, y = case
    expected = np.trace(np.linalg.pinv(np.cov(F.T, bias=True)) @ between(F, y))
    assert hscore(F, y) == pytest.approx(expected)


def test_is_the_sum_of_squared_canonical_correlations(case):
    F, y = case
    ratio = LinearDiscriminantAnalysis(solver="eigen").fit(F, y)
    scores = ratio.transform(F)
    within = sum(scores[y == c].var(axis=0) * (y == c).mean() for c in range(4))
    expected = (1 - within / scores.var(axis=0)).sum()
    assert hscore(F, y) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(90, 6), (20, 50)])
def test_regularised_is_ledoit_wolf(shape):
    rng = np.random.default_rng(1)
    y = np.arange(shape[0]) % 3
    F = rng.normal(size=shape) * np.linspace(0.1, 2, shape[1]) + np.eye(3, shape[1])[y]
    fitted = LedoitWolf().fit(F)
    assert ledoit_wolf(np, F - F.mean(0)) == pytest.approx(fitted.shrinkage_)
    inverse = np.linalg.inv(fitted.covariance_)
    expected = (1 - fitted.shrinkage_) * np.trace(inverse @ between(F, y))
    assert regularized_hscore(F, y) == pytest.approx(expected)


def test_invariances(case):
    F, y = case
    rng = np.random.default_rng(2)
    mix = rng.normal(size=(6, 6))
    turn = np.linalg.qr(mix)[0]
    assert hscore(F @ mix + 7, y) == pytest.approx(hscore(F, y))
    assert regularized_hscore(3 * F @ turn + 7, y) == pytest.approx(regularized_hscore(F, y))
    order = rng.permutation(90)
    assert hscore(F[order], y[order]) == pytest.approx(hscore(F, y))


def test_many_features_saturate_the_plain_score_only():
    # 30 rows of noise in 200 dimensions: any labels are separable
    noise, y = np.random.default_rng(3).normal(size=(30, 200)), np.arange(30) % 3
    assert hscore(noise, y) == pytest.approx(2)
    assert regularized_hscore(noise, y) < 1


def test_constant_features_and_torch(case):
    torch = pytest.importorskip("torch")
    F, y = case
    assert hscore(np.ones((90, 2)), y) == 0
    for score in (hscore, regularized_hscore):
        assert score(torch.tensor(F), y) == pytest.approx(score(F, y))
