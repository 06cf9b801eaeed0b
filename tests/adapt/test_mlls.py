"""MLLS against a known prior, the textbook EM and a calibration that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.mixture import proportions
from isthmus.adapt.mlls import MLLS, calibration

MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def shifted(source=(0.5, 0.3, 0.2), target=(0.1, 0.3, 0.6), n=1500, m=1200, seed=0):
    rng = np.random.default_rng(seed)
    ys, yt = rng.choice(3, n, p=source), rng.choice(3, m, p=target)
    Xs = MEANS[ys] + rng.normal(size=(n, 2))
    return Xs, ys, MEANS[yt] + rng.normal(size=(m, 2)), yt


def prior_of(got):
    return np.array([v["value"] for v in got.info["target_prior"].values()])


class Overconfident(ClassifierMixin, BaseEstimator):
    """Logistic regression whose logits are tripled: right classes, wrong probabilities."""

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        return softmax(3 * self.model_.decision_function(X), axis=1)


def test_finds_the_known_prior_within_its_interval():
    Xs, ys, Xt, yt = shifted()
    got = MLLS().adapt(Xs, ys, Xt)
    np.testing.assert_allclose(prior_of(got), np.bincount(yt) / len(yt), atol=0.04)
    for true, found in zip((0.1, 0.3, 0.6), got.info["target_prior"].values(), strict=True):
        assert found["low"] <= true <= found["high"] and found["high"] - found["low"] < 0.15
    assert got.weights.mean() == pytest.approx(1)


def test_the_solver_is_the_em_of_saerens():
    rng = np.random.default_rng(0)
    p, prior = softmax(2 * rng.normal(size=(200, 3)), axis=1), np.array([0.5, 0.3, 0.2])
    q = prior.copy()
    for _ in range(5000):
        posterior = p * q / prior
        q = (posterior / posterior.sum(1, keepdims=True)).mean(0)
    got, _, steps = proportions(np, p / prior, start=prior, tol=1e-10)
    np.testing.assert_allclose(got, q, atol=1e-6)
    assert steps < 200


def test_calibration_undoes_a_known_temperature():
    rng = np.random.default_rng(1)
    z = 2 * rng.normal(size=(20000, 3))
    bias = np.array([0.5, -0.5, 0.0])
    p = softmax(z / 2.5 + bias, axis=1)
    y = (p.cumsum(1) > rng.random((len(z), 1))).argmax(1)
    T, found = calibration(z, y)
    assert pytest.approx(2.5, rel=0.05) == T
    np.testing.assert_allclose(found - found[2], bias, atol=0.1)


def test_calibration_saves_an_overconfident_classifier():
    Xs, ys, Xt, yt = shifted(source=(0.6, 0.2, 0.2), target=(0.2, 0.2, 0.6))
    truth = np.bincount(yt) / len(yt)
    off = [
        np.abs(prior_of(MLLS(Overconfident(), calibrate=c, n_boot=2).adapt(Xs, ys, Xt)) - truth)
        for c in (True, False)
    ]
    assert off[0].max() < 0.05
    assert off[0].sum() < off[1].sum()


def test_correction_is_returned_as_a_prior():
    Xs, ys, Xt, _ = shifted(n=400, m=400)
    got = MLLS(use="correction", n_boot=5).adapt(Xs, ys, Xt)
    assert got.weights is None
    np.testing.assert_allclose(got.prior.target, prior_of(got))
    np.testing.assert_allclose(got.prior.source, np.bincount(ys) / len(ys))


def test_a_class_that_the_target_lacks_gets_nearly_nothing():
    Xs, ys, Xt, _ = shifted(target=(0.5, 0.5, 0.0))
    assert prior_of(MLLS(n_boot=5).adapt(Xs, ys, Xt))[2] < 0.03


def test_one_class_is_said():
    Xs, _, Xt, _ = shifted(n=50)
    got = MLLS().adapt(Xs, np.zeros(50), Xt)
    assert got.troubles[0].code == "one-class"
    np.testing.assert_allclose(got.weights, 1)
