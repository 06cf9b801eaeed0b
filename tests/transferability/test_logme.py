"""LogME against a brute-force maximisation of the evidence of the full model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from isthmus.errors import DataError, UsageError
from isthmus.transferability.logme import _by_grid, evidence, logme


def brute(F, y):
    """Largest log p(y) / n of y ~ N(0, F F' / alpha + I / beta): no spectrum, no fixed point."""
    n = len(y)

    def negative(log):
        covariance = F @ F.T / np.exp(log[0]) + np.eye(n) / np.exp(log[1])
        return -multivariate_normal.logpdf(y, np.zeros(n), covariance) / n

    starts = [(a, b) for a in (-2, 1, 4) for b in (-1, 2)]
    options = {"xatol": 1e-7, "fatol": 1e-12, "maxiter": 4000}
    return -min(minimize(negative, s, method="Nelder-Mead", options=options).fun for s in starts)


@pytest.mark.parametrize("shape", [(25, 3), (12, 30)])
def test_equals_the_largest_evidence(shape):
    rng = np.random.default_rng(0)
    F = rng.normal(size=shape) * np.linspace(0.5, 3, shape[1])
    y = F[:, 0] + 0.5 * F[:, 1] + rng.normal(size=shape[0])
    assert logme(F, y, task="regression") == pytest.approx(brute(F, y), abs=1e-6)


def test_classification_is_the_mean_over_classes():
    rng = np.random.default_rng(1)
    labels = np.array(list("abc" * 8))
    F = rng.normal(size=(24, 4)) + np.eye(4)[[ord(c) - 97 for c in labels]]
    expected = np.mean([brute(F, (labels == c).astype(float)) for c in "abc"])
    assert logme(F, labels) == pytest.approx(expected, abs=1e-6)


def test_the_grid_finds_what_the_fixed_point_finds():
    rng = np.random.default_rng(2)
    F, y = rng.normal(size=(60, 5)), rng.normal(size=60)
    y = y + F[:, 0]
    U, S, _ = np.linalg.svd(F, full_matrices=False)
    z2, energy = ((U.T @ y) ** 2)[:, None], np.array([y @ y])
    outside = energy - z2.sum(0)
    grid = _by_grid(S**2, z2, outside, 1e-12 * energy, 60)
    assert grid == pytest.approx(evidence(S**2, z2, energy, 60), abs=1e-6)


def test_useless_features_tend_to_noise_alone():
    rng = np.random.default_rng(3)
    y = rng.normal(size=400)
    F = rng.normal(size=(400, 3))
    F -= np.outer(y, y @ F) / (y @ y)  # orthogonal to the labels
    noise = -0.5 * np.log(2 * np.pi * (y @ y) / 400) - 0.5
    assert logme(F, y, task="regression") == pytest.approx(noise, abs=1e-4)
    assert logme(0 * F, y, task="regression") == pytest.approx(noise)


def test_invariances_and_order():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], 40)
    good = rng.normal(size=(120, 6)) + 2 * np.eye(6)[labels]
    poor = rng.normal(size=(120, 6)) + 0.3 * np.eye(6)[labels]
    value = logme(good, labels)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    order = rng.permutation(120)
    assert logme(100 * good @ turn, labels) == pytest.approx(value)
    assert logme(good[order], labels[order]) == pytest.approx(value)
    assert logme(np.hstack([good, np.zeros((120, 2))]), labels) == pytest.approx(value)
    assert value > logme(poor, labels)
    assert logme(good.astype(np.float32), labels) == pytest.approx(value, rel=1e-5)


def test_exact_fit_stays_finite():
    F = np.random.default_rng(5).normal(size=(30, 3))
    assert np.isfinite(logme(F, F[:, 0], task="regression"))
    assert np.isfinite(logme(np.random.default_rng(5).normal(size=(6, 50)), [0, 0, 0, 1, 1, 1]))


def test_torch_and_refusals():
    torch = pytest.importorskip("torch")
    F = np.random.default_rng(6).normal(size=(20, 4))
    labels = np.arange(20) % 2
    assert logme(torch.tensor(F), torch.tensor(labels)) == pytest.approx(logme(F, labels))
    with pytest.raises(DataError, match="1 class"):
        logme(F, np.zeros(20))
    with pytest.raises(DataError, match="NaN"):
        logme(F * np.nan, labels)
    with pytest.raises(DataError, match="20 rows"):
        logme(F, labels[:5])
    with pytest.raises(UsageError, match="task"):
        logme(F, labels, task="ranking")
