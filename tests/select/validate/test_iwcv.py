"""Importance-weighted cross-validation: scikit-learn's weighted scores, and a known target risk."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, log_loss

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.iwcv import IWCV


def scene_of(ys, w, K=3, n_t=4):
    n = len(ys)
    Xs, Xt = np.zeros((n, 1)), np.zeros((n_t, 1))
    return Scene(Xs, ys, Xt, K, w, np.zeros((n_t, 1), int), np.full((n_t, K), 1 / K))


def trial(held, K=3, n_t=4):
    return Trial("t", np.full((n_t, K), 1 / K), held)


def test_it_is_scikit_learns_weighted_accuracy_and_log_loss():
    rng = np.random.default_rng(0)
    ys, P, w = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), size=60), rng.gamma(2.0, size=60)
    assert IWCV().score(scene_of(ys, w), trial(P)) == pytest.approx(
        accuracy_score(ys, P.argmax(axis=1), sample_weight=w)
    )
    assert IWCV(loss="log_loss").score(scene_of(ys, w), trial(P)) == pytest.approx(
        -log_loss(ys, P, sample_weight=w, labels=[0, 1, 2])
    )


def test_true_weights_give_the_accuracy_on_the_target():
    # x ~ N(0, 1) in the source, N(1, 1) in the target; a rule that is right where x > 0
    rng = np.random.default_rng(1)
    x = rng.normal(size=40_000)
    ys = rng.integers(0, 2, len(x))
    said = np.where(x > 0, ys, 1 - ys)
    w = norm.pdf(x, 1) / norm.pdf(x)
    got = IWCV().score(scene_of(ys, w, K=2), trial(np.eye(2)[said], K=2))
    assert got == pytest.approx(norm.cdf(1), abs=0.02)
    assert (said == ys).mean() == pytest.approx(0.5, abs=0.02)


def test_rows_that_no_fold_held_out_are_left_out():
    rng = np.random.default_rng(2)
    ys, P, w = rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), size=40), rng.gamma(2.0, size=40)
    P[::4] = np.nan
    rows = np.arange(40) % 4 != 0
    assert IWCV().score(scene_of(ys, w), trial(P)) == pytest.approx(
        accuracy_score(ys[rows], P[rows].argmax(axis=1), sample_weight=w[rows])
    )
    P[9:] = np.nan
    with pytest.raises(DataError, match="held-out"):
        IWCV().score(scene_of(ys, w), trial(P))


def test_a_certain_error_costs_a_finite_log_loss():
    ys = np.zeros(20, int)
    P = np.tile([0.0, 1.0, 0.0], (20, 1))
    assert IWCV(loss="log_loss").score(scene_of(ys, np.ones(20)), trial(P)) == pytest.approx(
        np.log(1e-12)
    )


def test_weights_on_a_handful_are_refused():
    ys = np.zeros(20, int)
    P = np.tile([0.8, 0.1, 0.1], (20, 1))
    few = np.r_[np.ones(4), np.full(16, 1e-6)]
    with pytest.raises(DataError, match=r"4\.0 effective source rows of 20"):
        IWCV().score(scene_of(ys, few), trial(P))
    for bad in (np.zeros(20), -np.ones(20), np.ones(19), np.full(20, np.nan)):
        with pytest.raises(DataError, match="no weights"):
            IWCV().score(scene_of(ys, bad), trial(P))
    with pytest.raises(UsageError, match="loss"):
        IWCV(loss="f1").score(scene_of(ys, np.ones(20)), trial(P))
