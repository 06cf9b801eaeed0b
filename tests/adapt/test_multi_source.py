"""Several sources: known mixtures, weights by hand, one source, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from isthmus.adapt.bbse import BBSE
from isthmus.adapt.coral import CORAL
from isthmus.adapt.gaussian_ratio import GaussianRatio
from isthmus.adapt.multi_source import MultiSource
from isthmus.adapt.source_weights import by_likeness, stack
from isthmus.errors import DataError, UsageError
from isthmus.fit.estimator import DomainAdaptedClassifier


def stacked(parts, Xt, yt=None, shown=0, ids=None):
    """Arrays for fit; the first `shown` target rows are labelled."""
    ids = range(len(parts)) if ids is None else ids
    X = np.concatenate([p[0] for p in parts] + [Xt])
    fill = np.repeat(parts[0][1][:1], len(Xt))
    if shown:
        fill[:shown] = yt[:shown]
    y = np.concatenate([p[1] for p in parts] + [fill])
    domain = np.concatenate([np.full(len(p[0]), i) for p, i in zip(parts, ids)] + [[-1] * len(Xt)])
    labeled = (domain < 0) & (np.cumsum(domain < 0) <= shown)
    return (X, y), {"sample_domain": domain.astype(int), "target_labeled": labeled}


def two_rules(n=600, m=1500, share=0.3, seed=0):
    """Sources around -2 and +2 with rules that differ; the target mixes both."""
    rng = np.random.default_rng(seed)

    def one(rows, centre):
        X = rng.normal(size=(rows, 2)) + np.array([centre, 0])
        return X, (X[:, 1] * np.sign(centre) > 0).astype(int)

    a, b = one(int(share * m), -2.0), one(m - int(share * m), 2.0)
    return [one(n, -2.0), one(n, 2.0)], np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])


def rotated(angles, n=300, seed=0):
    """Domains of one rule, turned by the angles (radians) and moved along with them."""
    rng = np.random.default_rng(seed)
    out = []
    for angle in angles:
        y = np.arange(n) % 2
        X = rng.normal(size=(n, 2)) * 0.8 + np.array([[-1.5, 0], [1.5, 0]])[y]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        out.append((X @ turn.T + [2 * angle, 0], y))
    return out


@pytest.mark.parametrize("adapter", [None, CORAL(), GaussianRatio(), BBSE(use="correction")])
def test_one_source_is_the_domain_adapted_classifier(adapter):
    (source,) = rotated([0.0])
    ((Xt, _),) = rotated([0.5], seed=1)
    args, kept = stacked([source], Xt)
    got = MultiSource(adapter, weighting="discrepancy").fit(*args, **kept)
    want = DomainAdaptedClassifier(adapter).fit(*args, sample_domain=kept["sample_domain"])
    np.testing.assert_allclose(got.predict_proba(Xt), want.predict_proba(Xt), rtol=1e-10)
    np.testing.assert_array_equal(got.weights_, [1.0])


def test_uniform_is_the_mean_of_the_sources_own_classifiers():
    parts = rotated([0.0, 0.7, 1.4])
    Xt = rotated([0.3], seed=1)[0][0]
    args, kept = stacked(parts, Xt, ids=[0, 4, 7])
    got = MultiSource(weighting="uniform").fit(*args, **kept)
    each = [LogisticRegression().fit(X, y).predict_proba(Xt) for X, y in parts]
    np.testing.assert_allclose(got.predict_proba(Xt), np.mean(each, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(got.sources_, [0, 4, 7])


def test_a_mixture_target_finds_its_shares_and_each_row_its_source():
    """Densities are known: the combination is that of Mansour et al. with the true densities."""
    parts, Xt, yt = two_rules()
    args, kept = stacked(parts, Xt)
    got = MultiSource(weighting="mixture").fit(*args, **kept)
    np.testing.assert_allclose(got.weights_, [0.3, 0.7], atol=0.04)
    each = [LogisticRegression().fit(X, y).predict_proba(Xt) for X, y in parts]
    dense = np.exp(-0.5 * (Xt[:, :1] - np.array([-2.0, 2.0])) ** 2) * [0.3, 0.7]
    dense /= dense.sum(1, keepdims=True)
    want = dense[:, :1] * each[0] + dense[:, 1:] * each[1]
    off = np.abs(got.predict_proba(Xt) - want)  # rows between the sources hang on the estimate
    assert off.mean() < 0.015 and np.quantile(off, 0.98) < 0.12
    uniform = MultiSource(weighting="uniform").fit(*args, **kept).score(Xt, yt)
    pooled = DomainAdaptedClassifier().fit(*args, sample_domain=kept["sample_domain"])
    assert got.score(Xt, yt) > 0.93 and uniform < 0.7 and pooled.score(Xt, yt) < 0.7


def test_like_sources_count_more_and_that_helps():
    parts = rotated([0.1, 1.4, 1.5])
    Xt, yt = rotated([0.0], seed=1)[0]
    args, kept = stacked(parts, Xt)
    got, flat = (MultiSource(weighting=w).fit(*args, **kept) for w in ("auto", "uniform"))
    assert got.info_["weighting"] == "discrepancy" and got.weights_[0] > 0.7
    assert got.weights_[0] == got.weights_.max() and got.gaps_[0] == got.gaps_.min()
    assert got.score(Xt, yt) > flat.score(Xt, yt) + 0.05
    sharp = np.array([0.01, 0.1, 0.4])
    np.testing.assert_allclose(
        by_likeness(sharp, 0.0, 0.5), np.exp(-sharp / 0.085) / np.exp(-sharp / 0.085).sum()
    )


def test_stacked_weights_are_the_optimum_of_their_likelihood():
    rng = np.random.default_rng(0)
    p, start = rng.random((40, 3)), np.array([0.2, 0.5, 0.3])

    def loss(z):
        w = np.exp(z) / np.exp(z).sum()
        return -np.log(p @ w).sum() - 4 * start @ np.log(w)

    z = minimize(loss, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(stack(p, start, 4.0), np.exp(z) / np.exp(z).sum(), atol=1e-4)
    np.testing.assert_array_equal(stack(p, start, np.inf), start)


def test_fails_where_the_nearest_source_follows_another_rule_and_labels_repair_it():
    near, far = rotated([0.0, 0.3])
    Xt, yt = rotated([0.0], seed=1)[0]
    parts = [(near[0], 1 - near[1]), far]
    args, kept = stacked(parts, Xt)
    assert MultiSource().fit(*args, **kept).score(Xt, yt) < 0.3
    args, kept = stacked(parts, Xt, yt, shown=20)
    got = MultiSource().fit(*args, **kept)
    assert got.info_["weighting"] == "stacking" and got.weights_[1] > 0.9
    assert got.score(Xt, yt) > 0.85 and got.cv_losses_[0.0] < got.cv_losses_[np.inf]


def test_sources_may_know_different_classes_or_only_one():
    rng = np.random.default_rng(0)
    centre = np.array([[0.0, 0], [4, 0], [0, 4]])
    names = np.array(["a", "b", "c"])

    def one(codes):
        return centre[codes] + rng.normal(size=(len(codes), 2)), names[codes]

    parts = [one(np.repeat([0, 1], 50)), one(np.repeat([1, 2], 50)), one(np.repeat([2], 50))]
    Xt, yt = one(np.repeat([0, 1, 2], 50))
    args, kept = stacked(parts, Xt)
    got = MultiSource(weighting="mixture").fit(*args, **kept)
    assert list(got.classes_) == ["a", "b", "c"] and got.estimators_[2] is None
    assert [t.code for t in got.troubles_] == ["one-class"]
    np.testing.assert_allclose(got.predict_proba(Xt).sum(axis=1), 1)
    assert got.score(Xt, yt) > 0.85


def test_what_cannot_be_used_is_refused():
    parts = rotated([0.0, 0.5])
    Xt = rotated([0.2], seed=1)[0][0]
    args, kept = stacked(parts, Xt)
    with pytest.raises(DataError, match="labelled"):
        MultiSource(weighting="stacking").fit(*args, **kept)
    for wrong, match in (
        ({"weighting": "best"}, "weighting"),
        ({"temperature": 0}, "temperature"),
        ({"adapter": LogisticRegression()}, "Adapter"),
        ({"estimator": LinearSVC()}, "predict_proba"),
    ):
        with pytest.raises(UsageError, match=match):
            MultiSource(**wrong).fit(*args, **kept)
    with pytest.raises(DataError, match="one class"):
        MultiSource().fit(args[0], np.zeros(len(args[1])), **kept)
