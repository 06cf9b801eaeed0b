"""The prior-corrected circle: equal to the plain one without a shift, unfooled by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.circular import Circular
from isthmus.select.validate.circular_prior import CircularPrior


def centred(Xs, ys, Xt):
    """Each domain moved to its own mean: wrong as soon as class shares differ."""
    model, mean = LogisticRegression().fit(Xs - Xs.mean(axis=0), ys), Xt.mean(axis=0)
    return lambda X: _two(model, X - mean)


def plain(Xs, ys, Xt):
    model = LogisticRegression().fit(Xs, ys)
    return lambda X: _two(model, X)


def _two(model, X):
    P = np.zeros((len(X), 2))
    P[:, model.classes_] = model.predict_proba(X)
    return P


def data(share, seed=0, n=400):
    """No shift but that of the class shares: half and half in the source."""
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 2, (np.arange(n) < share * n).astype(int)
    Xs = rng.normal(size=(n, 2)) + 3 * ys[:, None] * [1, 0]
    Xt = rng.normal(size=(n, 2)) + 3 * yt[:, None] * [1, 0]
    P = np.full((n, 2), 0.5)
    return Scene(Xs, ys, Xt, 2, np.ones(n), np.zeros((n, 1), int), P), yt


def trial_of(name, scene, refit):
    return Trial(name, refit(scene.Xs, scene.ys, scene.Xt)(scene.Xt), refit=refit)


def test_the_source_comes_back_with_the_shares_of_the_target():
    scene, _ = data(0.9)
    seen = []

    def spy(Xs, ys, Xt):
        seen.append((Xs, Xt))
        return plain(Xs, ys, Xt)

    trial = trial_of("plain", scene, plain)
    CircularPrior(prior="mlls").score(scene, Trial("t", trial.target_proba, refit=spy))
    ((back, ahead),) = seen
    np.testing.assert_array_equal(back, scene.Xt)
    upper = scene.Xs[scene.ys == 1]
    share = np.mean([(row == upper).all(axis=1).any() for row in ahead])
    assert share == pytest.approx(0.9, abs=0.03) and len(ahead) == 400


def test_without_a_shift_it_is_about_the_plain_circle():
    scene, yt = data(0.5)
    trial = Trial("t", np.eye(2)[yt], refit=plain)
    assert CircularPrior().score(scene, trial) == pytest.approx(
        Circular().score(scene, trial), abs=0.02
    )


@pytest.mark.parametrize("share", [0.7, 0.95])
def test_it_sees_through_centring_under_a_prior_shift(share):
    scene, yt = data(share)
    good, bad = trial_of("plain", scene, plain), trial_of("centred", scene, centred)
    true = [(t.target_proba.argmax(axis=1) == yt).mean() for t in (good, bad)]
    assert true[0] > true[1] + 0.05
    # the plain circle sees no difference; this one is near the truth for both
    assert Circular().score(scene, bad) >= Circular().score(scene, good)
    by_mlls = CircularPrior(prior="mlls")
    assert [by_mlls.score(scene, t) for t in (good, bad)] == pytest.approx(true, abs=0.06)
    # with a consensus of the two candidates it still tells
    told = replace(scene, consensus=(good.target_proba + bad.target_proba) / 2)
    for prior in ("consensus", "both"):
        by = CircularPrior(prior=prior)
        assert by.score(told, good) > by.score(told, bad) + 0.02


def test_shares_of_the_consensus_and_the_mean_of_both():
    scene, _ = data(0.9)
    upper = scene.Xs[scene.ys == 1]
    told = replace(scene, consensus=np.tile([0.75, 0.25], (400, 1)))
    said, found = trial_of("plain", scene, plain).target_proba, {}
    for prior in ("consensus", "mlls", "both"):

        def spy(Xs, ys, Xt, prior=prior):
            found[prior] = np.mean([(row == upper).all(axis=1).any() for row in Xt])
            return plain(Xs, ys, Xt)

        CircularPrior(prior=prior).score(told, Trial("t", said, refit=spy))
    assert found["consensus"] == 0.25
    assert found["both"] == pytest.approx((found["consensus"] + found["mlls"]) / 2, abs=0.003)


def test_a_target_of_one_class_and_an_unknown_prior_are_refused():
    scene, _ = data(0.9)
    one = replace(scene, consensus=np.tile([1.0, 0.0], (400, 1)))
    with pytest.raises(DataError, match="one class only"):
        CircularPrior(prior="consensus").score(one, trial_of("plain", scene, plain))
    with pytest.raises(UsageError, match="prior"):
        CircularPrior(prior="guess").score(scene, trial_of("plain", scene, plain))
