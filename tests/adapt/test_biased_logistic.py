"""Biased logistic regression: its three ends against scikit-learn, and where it helps and fails."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.biased_logistic import BiasedLogistic
from isthmus.adapt.linear_source import LinearSource
from isthmus.adapt.sides import softmax
from isthmus.adapt.state import from_state, to_state
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


def domains(k=3, n=300, m=400, shown=6, seed=0, d=5, change=0.6, noise=1.0):
    """A linear rule with k classes; the target's rule has `change` of another one mixed in."""
    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c", "d"])[:k]
    rule, other = rng.normal(size=(2, k, d))
    turned = np.cos(change) * rule + np.sin(change) * other

    def draw(rows, W):
        X = rng.normal(size=(rows, d))
        return X, names[(3 * X @ W.T + noise * rng.gumbel(size=(rows, k))).argmax(1)]

    Xs, ys = draw(n, rule)
    Xt, yt = draw(m, turned)
    known = np.full(m, None, dtype=object)
    for name in names:
        at = np.flatnonzero(yt == name)[:shown]
        known[at] = name
    return Xs, ys, Xt, yt, known


def stacked(Xs, ys, Xt, known):
    X, y, domain, labeled = stack_domains(Xs, ys.astype(object), Xt, known)
    return (X, y), {"sample_domain": domain, "target_labeled": labeled}


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("d", [5, 60])
def test_without_source_weights_it_is_scikit_learns_logistic_regression(k, d):
    Xs, ys, Xt, _, known = domains(k, shown=12, d=d)
    args, kept = stacked(Xs, ys, Xt + 3, known)
    rows = 1 if k == 2 else k
    zero = LinearSource(np.zeros((rows, d)), np.zeros(rows), np.array(["a", "b", "c"])[:k])
    got = BiasedLogistic(0.7, source=zero, shrink_intercept=False, tol=1e-9).fit(*args, **kept)
    at = kept["target_labeled"]
    want = LogisticRegression(C=1 / 0.7, tol=1e-10, max_iter=5000)
    want.fit(args[0][at], args[1][at].astype(str))
    np.testing.assert_allclose(got.coef_, want.coef_, atol=1e-5)
    # of several intercepts only the differences matter
    lone = got.intercept_ - want.intercept_
    np.testing.assert_allclose(lone if k == 2 else lone - lone.mean(), 0, atol=1e-4)
    np.testing.assert_allclose(got.predict_proba(Xt), want.predict_proba(Xt), atol=1e-4)
    assert got.troubles_ == ()


@pytest.mark.parametrize("k", [2, 3])
def test_infinite_strength_is_the_source_and_great_strength_nearly(k):
    Xs, ys, Xt, _, known = domains(k)
    source = LogisticRegression().fit(Xs, ys)
    args, kept = stacked(Xs, ys, Xt, known)
    for strength, tol in ((np.inf, 1e-12), (1e9, 1e-6)):
        got = BiasedLogistic(strength, source=source).fit(*args, **kept)
        np.testing.assert_allclose(got.coef_, source.coef_, atol=tol)
        np.testing.assert_allclose(got.intercept_, source.intercept_, atol=tol)
        np.testing.assert_array_equal(got.predict(Xt), source.predict(Xt))


def test_small_strength_knows_the_target_alone():
    Xs, ys, Xt, _, known = domains(2, shown=100, noise=3.0)
    args, kept = stacked(Xs, ys, Xt, known)
    got = BiasedLogistic(1e-6).fit(*args, **kept)
    at = kept["target_labeled"]
    alone = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000)
    alone.fit(args[0][at], args[1][at].astype(str))
    np.testing.assert_allclose(got.coef_, alone.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(got.intercept_, alone.intercept_, rtol=1e-2, atol=1e-3)


def test_the_optimum_is_stationary_with_the_penalty_at_the_mean_row():
    """The gradient of the stated objective, written out, vanishes."""
    Xs, ys, Xt, _, known = domains(3, shown=4)
    args, kept = stacked(Xs, ys, Xt, known)
    got = BiasedLogistic(5.0, tol=1e-10).fit(*args, **kept)
    at, s = kept["target_labeled"], got.source_
    rows, label = args[0][at], args[1][at]
    slope = got.predict_proba(rows) - (label[:, None] == got.classes_)
    m, unit2 = Xt.mean(0), Xt.var(0).sum() / Xt.shape[1]
    c, c0 = got.coef_ @ m + got.intercept_, s.coef @ m + s.intercept
    np.testing.assert_allclose(slope.T @ (rows - m) + 5.0 * (got.coef_ - s.coef), 0, atol=1e-6)
    np.testing.assert_allclose(slope.sum(0) + 5.0 * (c - c0) / unit2, 0, atol=1e-6)


def test_helps_where_the_rule_turned_and_labels_are_few():
    gains = []
    for seed in range(5):
        Xs, ys, Xt, yt, known = domains(3, n=1000, shown=5, seed=seed, d=20)
        args, kept = stacked(Xs, ys, Xt, known)
        got, at = BiasedLogistic().fit(*args, **kept), kept["target_labeled"]
        source = LogisticRegression().fit(Xs, ys).score(Xt, yt)
        alone = LogisticRegression().fit(args[0][at], args[1][at].astype(str)).score(Xt, yt)
        gains.append([got.score(Xt, yt) - source, got.score(Xt, yt) - alone])
    assert (np.mean(gains, axis=0) > [0.01, 0.05]).all()


def test_an_opposite_source_is_no_help_but_cross_validation_lets_go_of_it():
    """Where it fails: against source weights of 0 a misleading source costs points."""
    Xs, ys, Xt, yt, known = domains(2, shown=8, change=np.pi, d=20)
    args, kept = stacked(Xs, ys, Xt, known)
    zero = LinearSource(np.zeros((1, 20)), np.zeros(1), np.array(["a", "b"]))
    got, free = BiasedLogistic().fit(*args, **kept), BiasedLogistic(source=zero).fit(*args, **kept)
    assert LogisticRegression().fit(Xs, ys).score(Xt, yt) < 0.3
    assert got.score(Xt, yt) > 0.45 and got.score(Xt, yt) < free.score(Xt, yt) - 0.05
    held = got.cv_losses_
    assert np.isfinite(got.strength_) and held[got.strength_] < held[np.inf]


def test_a_given_source_needs_no_source_rows_and_reads_none():
    Xs, ys, Xt, _, known = domains(3)
    args, kept = stacked(Xs, ys, Xt, known)
    first = BiasedLogistic().fit(*args, **kept)
    target = kept["sample_domain"] < 0
    alone = BiasedLogistic(source=first.source_).fit(
        args[0][target],
        args[1][target],
        sample_domain=kept["sample_domain"][target],
        target_labeled=kept["target_labeled"][target],
    )
    np.testing.assert_array_equal(alone.coef_, first.coef_)
    assert "0 source rows not read" in alone.info_["source"]
    again = clone(alone).fit(*args, **kept)
    np.testing.assert_array_equal(again.coef_, first.coef_)
    with pytest.raises(DataError, match="source rows"):
        BiasedLogistic(source=LogisticRegression()).fit(
            args[0][target],
            args[1][target],
            sample_domain=kept["sample_domain"][target],
            target_labeled=kept["target_labeled"][target],
        )


def test_neither_the_origin_nor_the_scale_of_the_features_matters():
    Xs, ys, Xt, _, known = domains(3)
    a, kept = stacked(Xs, ys, Xt, known)
    b, _ = stacked(Xs * 50 + 700, ys, Xt * 50 + 700, known)
    one, two = BiasedLogistic().fit(*a, **kept), BiasedLogistic().fit(*b, **kept)
    assert two.strength_ == pytest.approx(2500 * one.strength_)
    np.testing.assert_allclose(one.predict_proba(Xt), two.predict_proba(Xt * 50 + 700), atol=1e-4)


def test_an_absent_class_is_said_and_stays_predictable():
    Xs, ys, Xt, yt, known = domains(3)
    known[known == "c"] = None
    args, kept = stacked(Xs, ys, Xt, known)
    for shrink in (True, False):
        got = BiasedLogistic(shrink_intercept=shrink).fit(*args, **kept)
        assert [t.code for t in got.troubles_] == ["absent-class"]
        assert (got.predict(Xt)[yt == "c"] == "c").mean() > 0.3
    one = np.where(np.arange(len(known)) == int(np.flatnonzero(known == "a")[0]), known, None)
    args, kept = stacked(Xs, ys, Xt, one)
    assert "held out" in BiasedLogistic().fit(*args, **kept).strength_how_


def test_what_cannot_be_fitted_is_refused():
    Xs, ys, Xt, _, known = domains(2)
    args, kept = stacked(Xs, ys, Xt, known)
    with pytest.raises(DataError, match="labelled"):
        BiasedLogistic().fit(*args, sample_domain=kept["sample_domain"])
    with pytest.raises(DataError, match="sample_domain"):
        BiasedLogistic().fit(*args)
    with pytest.raises(UsageError, match="strength"):
        BiasedLogistic(-1.0).fit(*args, **kept)
    with pytest.raises(UsageError, match="coef_"):
        BiasedLogistic(source=KNeighborsClassifier()).fit(*args, **kept)
    with pytest.raises(UsageError, match="features"):
        BiasedLogistic(
            source=LinearSource(np.zeros((1, 3)), np.zeros(1), np.array(["a", "b"]))
        ).fit(*args, **kept)
    strange = np.where(known == "a", "z", known)
    with pytest.raises(DataError, match="no class of the source"):
        a, k = stacked(Xs, ys, Xt, strange)
        BiasedLogistic().fit(*a, **k)


@pytest.mark.parametrize("k", [2, 3])
def test_what_is_saved_gives_the_same_probabilities(k):
    Xs, ys, Xt, _, known = domains(k)
    args, kept = stacked(Xs, ys, Xt, known)
    got = BiasedLogistic().fit(*args, **kept)
    np.testing.assert_allclose(
        softmax(from_state(*to_state(got.served()))(Xt)), got.predict_proba(Xt), rtol=1e-12
    )
