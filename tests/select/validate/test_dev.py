"""DEV: the control variate against its definition and its purpose; held-out odds against truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.dev import DEV, controlled


def scene_of(Xs, ys, Xt, K=2, groups=None):
    n = len(Xt)
    P = np.full((n, K), 1 / K)
    near = np.zeros((n, 1), int)
    return Scene(Xs, ys, Xt, K, np.ones(len(Xs)), near, P, groups)


def ask(scene, held):
    P = np.full((len(scene.Xt), scene.n_classes), 1 / scene.n_classes)
    return DEV().score(scene, Trial("t", P, held))


def test_it_is_algorithm_one_of_the_paper():
    rng = np.random.default_rng(0)
    lost, w = rng.integers(0, 2, 50).astype(float), rng.gamma(2.0, size=50)
    weighted = w * lost
    eta = -np.cov(weighted, w)[0, 1] / np.var(w, ddof=1)
    assert controlled(lost, w) == pytest.approx(weighted.mean() + eta * w.mean() - eta)


def test_a_loss_that_is_constant_is_that_constant_whatever_the_weights():
    w = np.random.default_rng(1).gamma(1.0, size=30)
    assert controlled(np.full(30, 0.7), w) == pytest.approx(0.7)
    assert (w * 0.7).mean() != pytest.approx(0.7, abs=1e-3)


def test_equal_weights_are_the_plain_mean():
    lost = np.random.default_rng(2).random(20)
    assert controlled(lost, np.ones(20)) == pytest.approx(lost.mean())


def test_the_control_variate_lowers_the_variance():
    rng, plain, tamed = np.random.default_rng(3), [], []
    for _ in range(300):
        x = rng.normal(size=200)
        w = norm.pdf(x, 0.8) / norm.pdf(x)
        lost = (x + rng.normal(size=200) > -1).astype(float)
        plain.append((w * lost).mean())
        tamed.append(controlled(lost, w))
    assert np.std(tamed) < 0.6 * np.std(plain)
    assert np.mean(tamed) == pytest.approx(np.mean(plain), abs=0.03)


def test_it_estimates_the_accuracy_on_a_target_that_moved():
    rng = np.random.default_rng(4)
    Xs, Xt = rng.normal(size=(3000, 3)), rng.normal(size=(3000, 3)) + np.array([1, 0, 0])
    ys = rng.integers(0, 2, 3000)
    said = np.where(Xs[:, 0] > 0, ys, 1 - ys)
    got = ask(scene_of(Xs, ys, Xt), np.eye(2)[said])
    assert got == pytest.approx(norm.cdf(1), abs=0.04)
    assert (said == ys).mean() == pytest.approx(0.5, abs=0.03)


def test_many_features_are_reduced_and_tell_no_tales():
    # 200 features of noise and 150 rows: odds fitted on their own rows would be far from 1
    rng = np.random.default_rng(5)
    Xs, Xt = rng.normal(size=(150, 200)), rng.normal(size=(150, 200))
    ys = np.arange(150) % 2
    said = np.where(np.arange(150) < 105, ys, 1 - ys)
    assert ask(scene_of(Xs, ys, Xt), np.eye(2)[said]) == pytest.approx(0.7, abs=0.12)


def test_groups_stay_whole():
    # each group has a feature of its own mark: torn apart, the folds would recognise it
    rng = np.random.default_rng(6)
    mark = np.repeat(np.arange(10), 20)
    Xs = rng.normal(size=(200, 4)) + 3 * rng.normal(size=(10, 4))[mark]
    Xt = rng.normal(size=(200, 4))
    odds = DEV()._odds(scene_of(Xs, mark % 2, Xt, groups=mark))
    torn = DEV()._odds(scene_of(Xs, mark % 2, Xt))
    assert odds.shape == (200,) and not np.allclose(odds, torn)
    two = scene_of(Xs, mark % 2, Xt, groups=np.zeros(200))
    with pytest.raises(DataError, match="no folds"):
        ask(two, np.eye(2)[mark % 2])


def test_domains_apart_are_refused():
    rng = np.random.default_rng(7)
    Xs, ys = rng.normal(size=(60, 2)), np.arange(60) % 2
    Xt = np.r_[rng.normal(size=(60, 2)) + 60]
    Xs[0] = 55
    with pytest.raises(DataError, match="effective"):
        ask(scene_of(Xs, ys, Xt), np.eye(2)[ys])
    with pytest.raises(DataError, match="no feature varies"):
        ask(scene_of(np.ones((60, 2)), ys, np.ones((9, 2))), np.eye(2)[ys])
