"""Biased SVM: LinearSVC without a source, the source model at infinity, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from isthmus.adapt.biased_svm import BiasedSVM
from isthmus.adapt.linear_source import LinearSource
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError


def domains(k=3, n=400, m=400, shown=6, seed=0, d=8, change=0.6):
    """A linear rule with k classes; the target's rule has `change` of another one mixed in."""
    rng = np.random.default_rng(seed)
    rule, other = rng.normal(size=(2, k, d))
    turned = np.cos(change) * rule + np.sin(change) * other

    def draw(rows, W):
        X = rng.normal(size=(rows, d))
        return X, (3 * X @ W.T + rng.gumbel(size=(rows, k))).argmax(1)

    Xs, ys = draw(n, rule)
    Xt, yt = draw(m, turned)
    known = np.full(m, np.nan)
    for name in range(k):
        known[np.flatnonzero(yt == name)[:shown]] = name
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, known)
    return (X, y), {"sample_domain": domain, "target_labeled": labeled}, Xt, yt


@pytest.mark.parametrize("k", [2, 3])
def test_without_source_weights_it_is_scikit_learns_linear_svc(k):
    args, kept, Xt, _ = domains(k, shown=15)
    rows = 1 if k == 2 else k
    zero = LinearSource(np.zeros((rows, 8)), np.zeros(rows), np.arange(k))
    got = BiasedSVM(0.5, source=zero, shrink_intercept=False, tol=1e-9).fit(*args, **kept)
    at = kept["target_labeled"]
    # liblinear penalises the intercept; a large scaling makes the penalty vanish
    want = LinearSVC(C=2.0, tol=1e-10, max_iter=1_000_000, intercept_scaling=200, dual=False)
    want.fit(args[0][at], args[1][at])
    np.testing.assert_allclose(got.coef_, want.coef_, atol=1e-3)
    np.testing.assert_allclose(got.intercept_, want.intercept_, atol=1e-3)
    assert (got.predict(Xt) == want.predict(Xt)).mean() > 0.99


def test_infinite_strength_is_the_source_and_small_strength_the_target():
    args, kept, Xt, _ = domains(shown=40)
    source = LinearSVC(dual=False).fit(args[0][:400], args[1][:400])
    got = BiasedSVM(np.inf, source=source).fit(*args, **kept)
    np.testing.assert_allclose(got.decision_function(Xt), source.decision_function(Xt))
    at = kept["target_labeled"]
    got = BiasedSVM(1e-6, source=source).fit(*args, **kept)
    alone = LinearSVC(C=1e6, dual=False, max_iter=100_000, intercept_scaling=100)
    alone.fit(args[0][at], args[1][at])
    np.testing.assert_allclose(got.coef_, alone.coef_, rtol=0.02, atol=0.01)


def test_helps_where_the_rule_turned_and_labels_are_few():
    gains = []
    for seed in range(5):
        args, kept, Xt, yt = domains(n=1000, shown=5, seed=seed, d=20)
        at = kept["target_labeled"]
        got = BiasedSVM().fit(*args, **kept).score(Xt, yt)
        source = LinearSVC(dual=False).fit(args[0][:1000], args[1][:1000]).score(Xt, yt)
        alone = LogisticRegression().fit(args[0][at], args[1][at]).score(Xt, yt)
        gains.append([got - source, got - alone])
    assert (np.mean(gains, axis=0) > [0.01, 0.05]).all()


def test_fails_under_an_opposite_rule():
    args, kept, Xt, yt = domains(2, shown=8, change=np.pi, d=20)
    zero = LinearSource(np.zeros((1, 20)), np.zeros(1), np.arange(2))
    got = BiasedSVM().fit(*args, **kept).score(Xt, yt)
    assert got < BiasedSVM(source=zero).fit(*args, **kept).score(Xt, yt) - 0.05


def test_a_source_of_one_class_is_refused():
    args, kept, _, _ = domains(2)
    y = np.where(kept["sample_domain"] >= 0, 1, args[1])
    with pytest.raises(DataError, match="one class"):
        BiasedSVM().fit(args[0], y, **kept)
