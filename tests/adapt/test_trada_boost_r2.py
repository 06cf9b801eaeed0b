"""TrAdaBoost.R2: the paper's rounds written out, the weighted median, help and failure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from isthmus.adapt.boosting import weighted_median
from isthmus.adapt.trada_boost_r2 import TrAdaBoostR2
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError

TREE = DecisionTreeRegressor(max_depth=2, random_state=0)


def fitted(model, Xs, ys, Xt, yt):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def domains(n, m, seed, right=0.5):
    """The source holds rows of another slope beside rows of the target's."""
    rng = np.random.default_rng(seed)
    Xs, Xt = rng.normal(size=(n, 10)), rng.normal(size=(m + 500, 10))
    slope = np.linspace(-1, 1, 10)
    good = rng.uniform(size=n) < right
    ys = np.where(good, Xs @ slope, Xs @ -slope) + 0.3 * rng.normal(size=n)
    return Xs, ys, Xt, Xt @ slope + 0.3 * rng.normal(size=len(Xt))


def test_follows_the_papers_rounds():
    Xs, ys, Xt, yt = domains(60, 30, 0)
    Xt, yt, new = Xt[:30], yt[:30], Xt[30:]
    rounds = 5
    got = fitted(TrAdaBoostR2(TREE, n_estimators=rounds), Xs, ys, Xt, yt)
    X, y, w = np.r_[Xs, Xt], np.r_[ys, yt], np.full(90, 1 / 90)
    beta, betas, learners = 1 / (1 + np.sqrt(2 * np.log(60) / rounds)), [], []
    for _ in range(rounds):
        last = w / w.sum()
        tree = DecisionTreeRegressor(max_depth=2, random_state=0)
        learners.append(tree.fit(X, y, sample_weight=w))
        e = np.abs(learners[-1].predict(X) - y)
        e /= e.max()
        error = np.sum(w[60:] * e[60:]) / np.sum(w[60:])
        betas.append(error / (1 - error))
        w = np.r_[w[:60] * beta ** e[:60], w[60:] * betas[-1] ** -e[60:]]
    np.testing.assert_allclose(got.source_weights_, last[:60] * 90, rtol=1e-6)
    votes = np.log(1 / np.array(betas))
    np.testing.assert_allclose(got.estimator_weights_, np.r_[0, 0, votes[2:]])
    guesses = np.column_stack([tree.predict(new) for tree in learners[2:]])
    want = [
        min(g for g in row if votes[2:][row <= g].sum() >= votes[2:].sum() / 2) for row in guesses
    ]
    np.testing.assert_allclose(got.predict(new), want)


def test_the_weighted_median_of_equal_weights_is_the_lower_median():
    values = np.random.default_rng(0).normal(size=(50, 7))
    got = weighted_median(values, np.ones(7))
    np.testing.assert_array_equal(got, np.median(values, axis=1))
    np.testing.assert_array_equal(
        weighted_median(values[:, :6], np.full(6, 0.1)), np.sort(values[:, :6], axis=1)[:, 2]
    )
    np.testing.assert_array_equal(weighted_median(values, np.eye(7)[4] + 1e-9), values[:, 4])


def errors(right, m=15):
    """Mean absolute error of source-only, target-only and TrAdaBoost.R2."""
    out = []
    for seed in range(5):
        Xs, ys, Xt, yt = domains(500, m, seed, right)
        both = fitted(TrAdaBoostR2(), Xs, ys, Xt[:m], yt[:m])
        alone = Ridge().fit(Xs, ys), Ridge().fit(Xt[:m], yt[:m])
        out.append([np.abs(model.predict(Xt[m:]) - yt[m:]).mean() for model in (*alone, both)])
    return np.mean(out, axis=0)


def test_helps_where_part_of_the_source_contradicts_the_target():
    source, target, both = errors(right=0.6)
    assert both < 0.8 * source and both < 0.9 * target


def test_fails_where_every_source_row_contradicts_the_target():
    _, target, both = errors(right=0.0)
    assert both > 1.1 * target


def test_target_share_one_leaves_the_source_out():
    Xs, ys, Xt, yt = domains(60, 30, 1)
    got = fitted(TrAdaBoostR2(TREE, n_estimators=1, target_share=1.0), Xs, ys, Xt[:30], yt[:30])
    want = DecisionTreeRegressor(max_depth=2, random_state=0).fit(Xt[:30], yt[:30])
    np.testing.assert_array_equal(got.predict(Xt[30:]), want.predict(Xt[30:]))


def test_ends_early_where_nothing_is_left_to_learn_or_nothing_is_learned():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    exact = fitted(TrAdaBoostR2(LinearRegression()), X[:20], X[:20, 0], X[20:], X[20:, 0])
    assert 1 <= len(exact.estimators_) < 20
    np.testing.assert_allclose(exact.predict(X), X[:, 0], atol=1e-6)
    far = fitted(TrAdaBoostR2(Ridge()), X[:20], X[:20, 0], X[20:21], np.array([100.0]))
    assert len(far.estimators_) == 1 and far.troubles_[0].code == "weak-learner"


def test_what_it_cannot_use_is_refused():
    Xs, ys, Xt, yt = domains(20, 5, 0)
    for model, word in (
        (TrAdaBoostR2(n_estimators=0), "n_estimators"),
        (TrAdaBoostR2(target_share=1.5), "target_share"),
        (TrAdaBoostR2(KNeighborsRegressor()), "sample_weight"),
    ):
        with pytest.raises(UsageError, match=word):
            fitted(model, Xs, ys, Xt, yt)
    with pytest.raises(DataError, match="not numbers"):
        fitted(TrAdaBoostR2(), Xs, np.full(20, "a", dtype=object), Xt[:1], np.array(["b"], object))
