"""Bayesian head against numerical integration, its prior against known weights, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from isthmus.adapt.bayesian_head import BayesianHead
from isthmus.adapt.biased_logistic import BiasedLogistic
from isthmus.adapt.linear_source import LinearSource
from isthmus.adapt.state import from_state, to_state
from isthmus.adapt.weight_prior import WeightPrior
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


def family(k=2, d=12, sources=8, n=400, shown=8, m=600, seed=0, loose=3, wide=2.0, odd=False):
    """Domains whose rules differ in the first `loose` features only (or, if `odd`, the last)."""
    rng = np.random.default_rng(seed)
    rule = 1.5 * rng.normal(size=(k, d))

    def one(rows, at):
        W = rule.copy()
        W[:, at] += wide * rng.normal(size=(k, loose))
        X = rng.normal(size=(rows, d))
        return X, (X @ W.T + rng.gumbel(size=(rows, k))).argmax(1)

    first, last = slice(0, loose), slice(d - loose, d)
    parts = [one(n, first) for _ in range(sources)]
    Xt, yt = one(m, last if odd else first)
    known = np.full(m, np.nan)
    for name in range(k):
        known[np.flatnonzero(yt == name)[:shown]] = name
    Xs, ys = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, known)
    domain[domain >= 0] = np.repeat(np.arange(sources), n)
    return (X, y), {"sample_domain": domain, "target_labeled": labeled}, Xt, yt


def alone(args, kept):
    """Target rows without the source."""
    at = kept["sample_domain"] < 0
    return [a[at] for a in args], {name: value[at] for name, value in kept.items()}


def test_prediction_and_evidence_agree_with_numerical_integration():
    X = np.array([[-1.0], [-0.3], [0.4], [1.1], [2.0], [3.0], [-2.0]])
    y = np.array([0, 1, 0, 1, 1, 0, 0])
    labeled = np.array([True] * 5 + [False] * 2)
    prior = WeightPrior(LinearSource([[0.5]], [0.2], np.arange(2)), np.ones(2))
    head = BayesianHead(0.8, prior=prior)
    head.fit(X, y, sample_domain=np.full(7, -1), target_labeled=labeled)
    m, u = X.mean(), X.std()
    w, b = (g.ravel() for g in np.meshgrid(*[np.linspace(-6, 6, 801)] * 2))
    cell = (12 / 800) ** 2

    def sigmoid(x):
        z = (x - m) * (0.5 + w) + (0.2 + 0.5 * m) + u * b
        return 1 / (1 + np.exp(-z))

    mass = np.exp(-(w**2 + b**2) / 1.6) / (2 * np.pi * 0.8) * cell
    for x, label in zip(X[:5, 0], y[:5], strict=True):
        mass = mass * (sigmoid(x) if label else 1 - sigmoid(x))
    assert head.log_evidence_[0.8] == pytest.approx(np.log(mass.sum()), abs=0.05)
    new = np.array([-3.0, -0.5, 0.0, 1.5, 4.0])
    want = np.array([(mass * sigmoid(x)).sum() / mass.sum() for x in new])
    got = head.predict_proba(new[:, None])[:, 1]
    np.testing.assert_allclose(got, want, atol=0.03)  # five labels: the posterior is skewed
    plugged = 1 / (1 + np.exp(-head.decision_function(new[:, None])))
    assert np.abs(got - want).sum() < 0.5 * np.abs(plugged - want).sum()


def test_several_classes_agree_with_draws_from_the_prior():
    """Self-normalised importance sampling: weights from the prior, weighted by their likelihood."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 2)), np.array([0, 1, 2, 0, 1, 2, 0, 0, 0])
    labeled = np.arange(9) < 6
    prior = WeightPrior(
        LinearSource(rng.normal(size=(3, 2)), np.zeros(3), np.arange(3)), np.ones(3)
    )
    head = BayesianHead(0.5, prior=prior)
    head.fit(X, y, sample_domain=np.full(9, -1), target_labeled=labeled)
    m, u = X.mean(0), (X.var(0).sum() / 2) ** 0.5
    draws = 0.5**0.5 * rng.normal(size=(200_000, 3, 3))
    W = prior.mean.coef + draws[:, :, :2]

    def proba(rows):
        z = np.einsum("nd,skd->nsk", rows - m, W) + prior.mean.coef @ m + u * draws[:, :, 2]
        p = np.exp(z - z.max(2, keepdims=True))
        return p / p.sum(2, keepdims=True)

    weight = np.prod([p[:, c] for p, c in zip(proba(X[:6]), y[:6], strict=True)], axis=0)
    want = np.einsum("nsk,s->nk", proba(2 * X[6:]), weight / weight.sum())
    np.testing.assert_allclose(head.predict_proba(2 * X[6:]), want, atol=0.04)
    assert head.log_evidence_[0.5] == pytest.approx(np.log(weight.mean()), abs=0.1)


@pytest.mark.parametrize("k", [2, 3])
def test_the_most_probable_weights_are_biased_regularisation_with_one_source(k):
    args, kept, Xt, _ = family(k, sources=1)
    head = BayesianHead(0.3).fit(*args, **kept)
    want = BiasedLogistic(1 / 0.3, source=head.prior_.mean).fit(*args, **kept)
    np.testing.assert_allclose(head.coef_, want.coef_, atol=1e-5)
    np.testing.assert_allclose(head.decision_function(Xt), want.decision_function(Xt), atol=1e-4)


def test_the_prior_knows_which_weights_vary():
    args, kept, *_ = family(sources=12)
    shape = BayesianHead().fit(*args, **kept).prior_.shape
    assert shape[:3].min() > 5 * shape[3:-1].max()


def test_a_learned_shape_helps_over_equal_variances_and_over_both_baselines():
    scores = []
    for seed in range(5):
        args, kept, Xt, yt = family(k=3, seed=seed, shown=10)
        at = kept["target_labeled"]
        head = BayesianHead().fit(*args, **kept)
        flat = WeightPrior(head.prior_.mean, np.ones_like(head.prior_.shape))
        source = kept["sample_domain"] >= 0
        scores.append(
            [
                head.score(Xt, yt),
                BayesianHead(prior=flat).fit(*args, **kept).score(Xt, yt),
                LogisticRegression().fit(args[0][source], args[1][source]).score(Xt, yt),
                LogisticRegression().fit(args[0][at], args[1][at]).score(Xt, yt),
            ]
        )
    got, flat, source, target = np.mean(scores, axis=0)
    assert got > flat + 0.02 and got > source + 0.05 and got > target + 0.05


def test_averaging_is_better_calibrated_than_the_most_probable_weights():
    losses = []
    for seed in range(5):
        args, kept, Xt, yt = family(seed=seed, shown=4)
        head = BayesianHead().fit(*args, **kept)
        z = head.decision_function(Xt)
        sure = 1 / (1 + np.exp(-np.column_stack([-z, z])))
        losses.append([log_loss(yt, head.predict_proba(Xt)), log_loss(yt, sure)])
        far = 1 / (1 + np.exp(-np.abs(head.decision_function(50 * Xt))))
        assert (head.predict_proba(50 * Xt).max(1) <= far).all()
    averaged, plugged = np.mean(losses, axis=0)
    assert averaged < plugged


def test_fails_where_the_target_differs_in_what_the_sources_agree_on():
    """Sure of the wrong weights, it loses to equal variances and to the target alone."""
    scores = []
    for seed in range(5):
        args, kept, Xt, yt = family(k=3, seed=seed, odd=True, wide=3.0, shown=10)
        at = kept["target_labeled"]
        head = BayesianHead().fit(*args, **kept)
        flat = WeightPrior(head.prior_.mean, np.ones_like(head.prior_.shape))
        target = LogisticRegression().fit(args[0][at], args[1][at])
        models = (head, BayesianHead(prior=flat).fit(*args, **kept), target)
        scores.append([model.score(Xt, yt) for model in models])
    got, flat, target = np.mean(scores, axis=0)
    assert got < flat - 0.03 and got < target - 0.03


def test_classes_taken_apart_are_within_half_a_point_of_the_joint_posterior():
    args, kept, Xt, yt = family(k=4, m=2000)
    a, b = (BayesianHead(solver=s).fit(*args, **kept) for s in ("exact", "approximate"))
    assert abs(a.score(Xt, yt) - b.score(Xt, yt)) <= 0.005
    np.testing.assert_allclose(a.predict_proba(Xt), b.predict_proba(Xt), atol=0.1)


def test_a_given_prior_needs_no_source_rows():
    args, kept, Xt, _ = family(k=3)
    head = BayesianHead().fit(*args, **kept)
    target, mine = alone(args, kept)
    again = BayesianHead(prior=head.prior_).fit(*target, **mine)
    np.testing.assert_allclose(again.predict_proba(Xt), head.predict_proba(Xt), rtol=1e-10)
    with pytest.raises(DataError, match="source rows"):
        BayesianHead().fit(*target, **mine)


def test_a_source_domain_of_one_class_is_left_out_and_said():
    args, kept, *_ = family(sources=3)
    y = np.where(kept["sample_domain"] == 1, 0, args[1])
    head = BayesianHead().fit(args[0], y, **kept)
    assert head.prior_.sources == 2
    assert [t.code for t in head.troubles_] == ["one-class"]


def test_what_cannot_be_used_is_refused():
    args, kept, *_ = family(sources=1)
    with pytest.raises(DataError, match="labelled"):
        BayesianHead().fit(*args, sample_domain=kept["sample_domain"])
    for wrong, match in (
        ({"scale": -1.0}, "scale"),
        ({"solver": "quick"}, "solver"),
        ({"prior": WeightPrior(LinearSource([[1.0]], [0.0], np.arange(2)), np.ones(2))}, "prior"),
    ):
        with pytest.raises(UsageError, match=match):
            BayesianHead(**wrong).fit(*args, **kept)


def test_what_is_saved_gives_the_same_probabilities():
    args, kept, Xt, _ = family(k=3)
    head = BayesianHead().fit(*args, **kept)
    again = from_state(*to_state(head.served()))
    np.testing.assert_array_equal(np.exp(again(Xt)), head.predict_proba(Xt))
    np.testing.assert_allclose(head.predict_proba(Xt).sum(axis=1), 1)
