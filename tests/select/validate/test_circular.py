"""Circular validation: scikit-learn by hand, what it is fooled by, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.circular import Circular


def full(model, X, K):
    P = np.zeros((len(X), K))
    P[:, model.classes_] = model.predict_proba(X)
    return P


def plain(Xs, ys, Xt):
    """Source-only."""
    model = LogisticRegression().fit(Xs, ys)
    return lambda X: full(model, X, 3)


def data(seed=0, gap=0.0):
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(120) % 3, np.arange(90) % 3
    Xs = 2 * np.eye(3)[ys] + rng.normal(size=(120, 3))
    Xt = 2 * np.eye(3)[yt] + rng.normal(size=(90, 3)) + gap
    P = np.full((90, 3), 1 / 3)
    return Scene(Xs, ys, Xt, 3, np.ones(120), np.zeros((90, 1), int), P), yt


def trial_of(scene, refit):
    return Trial("t", refit(scene.Xs, scene.ys, scene.Xt)(scene.Xt), refit=refit)


def test_it_is_the_circle_by_hand():
    scene, _ = data()
    there = LogisticRegression().fit(scene.Xs, scene.ys).predict(scene.Xt)
    back = LogisticRegression().fit(scene.Xt, there)
    assert Circular().score(scene, trial_of(scene, plain)) == pytest.approx(
        back.score(scene.Xs, scene.ys)
    )


def test_random_pseudo_labels_come_back_at_chance():
    scene, _ = data()
    coin = np.eye(3)[np.random.default_rng(1).integers(0, 3, 90)]
    assert Circular().score(scene, Trial("t", coin, refit=plain)) < 0.55
    assert Circular().score(scene, trial_of(scene, plain)) > 0.75


def test_the_refit_sees_target_rows_as_its_source_and_no_true_label():
    scene, _ = data()
    seen = []

    def spy(Xs, ys, Xt):
        seen.append((Xs.copy(), np.asarray(ys).copy(), Xt.copy()))
        return plain(Xs, ys, Xt)

    trial = trial_of(scene, plain)
    Circular().score(scene, replace(trial, refit=spy))
    ((Xs, ys, Xt),) = seen
    np.testing.assert_array_equal(Xs, scene.Xt)
    np.testing.assert_array_equal(ys, trial.target_proba.argmax(axis=1))
    np.testing.assert_array_equal(Xt, scene.Xs)


def test_one_predicted_class_and_a_refit_that_breaks_are_reasons():
    scene, _ = data()
    one = np.tile([1.0, 0, 0], (90, 1))
    with pytest.raises(DataError, match="one class"):
        Circular().score(scene, Trial("t", one, refit=plain))

    def short(Xs, ys, Xt):
        return lambda X: np.full((len(X), 2), 0.5)

    with pytest.raises(DataError, match="shape"):
        Circular().score(scene, replace(trial_of(scene, plain), refit=short))

    def broken(Xs, ys, Xt):
        raise np.linalg.LinAlgError("did not converge")

    with pytest.raises(DataError, match="did not converge"):
        Circular().score(scene, replace(trial_of(scene, plain), refit=broken))
