"""TrAdaBoost: SAMME without a source, the paper's rounds written out, drift, help and failure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from isthmus.adapt.trada_boost import TrAdaBoost
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError

STUMP = DecisionTreeClassifier(max_depth=1, random_state=0)


def fitted(model, Xs, ys, Xt, yt):
    """Every target row carries a label."""
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def three(n, seed, wrong=0.0):
    """Three classes by the sum of two columns, in some rows another class than that."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    y = np.digitize(X[:, 0] + X[:, 1] + 0.3 * rng.normal(size=n), [-0.8, 0.8])
    return X, np.where(rng.uniform(size=n) < wrong, (y + 1) % 3, y)


def test_without_weight_on_the_source_it_is_samme():
    Xs, ys = three(50, 0)
    Xt, yt = three(120, 1)
    got = fitted(TrAdaBoost(STUMP, n_estimators=8, target_share=1.0), Xs, ys, Xt, yt)
    want = AdaBoostClassifier(STUMP, n_estimators=8, random_state=0).fit(Xt, yt)
    np.testing.assert_allclose(got.estimator_errors_, want.estimator_errors_)
    np.testing.assert_allclose(got.estimator_weights_[3:], want.estimator_weights_[3:])
    assert not got.estimator_weights_[:3].any()  # the second half votes
    assert not got.source_weights_.any()
    want.estimator_weights_[:3] = 0
    new, _ = three(200, 2)
    np.testing.assert_allclose(got.predict_proba(new), want.predict_proba(new))
    np.testing.assert_array_equal(got.predict(new), want.predict(new))


@pytest.mark.parametrize("dynamic", [False, True])
def test_two_classes_follow_the_papers_rounds(dynamic):
    """Algorithm 1 of 2007 with labels 0 and 1, and the factor 2 (1 - e) of 2011."""
    rng = np.random.default_rng(3)
    Xs, Xt = rng.normal(size=(80, 2)), rng.normal(size=(40, 2))
    ys = (Xs[:, 0] > 0).astype(int)
    yt = (Xt.sum(axis=1) + 0.5 * rng.normal(size=40) > 0.2).astype(int)
    rounds, tree = 6, DecisionTreeClassifier(max_depth=2, random_state=0)
    model = TrAdaBoost(tree, n_estimators=rounds, dynamic=dynamic)
    got = fitted(model, Xs, ys, Xt, yt)
    X, y, w = np.r_[Xs, Xt], np.r_[ys, yt], np.full(120, 1 / 120)
    beta, votes, learners = 1 / (1 + np.sqrt(2 * np.log(80) / rounds)), [], []
    for number in range(rounds):
        last = w / w.sum()
        learners.append(clone(tree).fit(X, y, sample_weight=w))
        wrong = np.abs(learners[-1].predict(X) - y)
        e = np.sum(w[80:] * wrong[80:]) / np.sum(w[80:])
        assert 1 / 80 < e < 0.5, number
        votes.append(np.log((1 - e) / e))
        w = np.r_[w[:80] * beta ** wrong[:80], w[80:] * (e / (1 - e)) ** -wrong[80:]]
        if dynamic:
            w[:80] *= 2 * (1 - e)
    np.testing.assert_allclose(got.source_weights_, last[:80] * 120, rtol=1e-6)
    np.testing.assert_allclose(got.estimator_weights_, np.r_[0, 0, votes[2:]])
    new = rng.normal(size=(300, 2))
    ballot = sum(v * h.predict(new) for v, h in zip(votes[2:], learners[2:], strict=True))
    np.testing.assert_array_equal(got.predict(new), (ballot >= 0.5 * sum(votes[2:])).astype(int))


def test_dynamic_updates_keep_a_source_that_agrees():
    """Same distribution on both sides: the source does not lose its say for being the source."""
    Xs, ys = three(300, 4)
    Xt, yt = three(60, 5)
    share = {}
    for dynamic in (True, False):
        model = TrAdaBoost(DecisionTreeClassifier(max_depth=3, random_state=0), dynamic=dynamic)
        share[dynamic] = fitted(model, Xs, ys, Xt, yt).info_["target_share"]
    assert share[True][0] == share[False][0] == pytest.approx(1 / 6)
    assert share[False][-1] > 0.9 > 0.6 > share[True][-1]


def two_sources(n, seed, right):
    """Labels by column 0 in a share of the rows, by column 1 in the others, which have x2 > 0."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8))
    good = rng.uniform(size=n) < right
    X[:, 2] = np.where(good, -1, 1) * np.abs(X[:, 2])
    return X, np.where(good, X[:, 0] > 0, X[:, 1] < 0).astype(int)


def scores(right, m=16):
    """Accuracy of source-only, target-only and TrAdaBoost, mean of five draws."""
    out = []
    for seed in range(5):
        Xs, ys = two_sources(1000, seed, right)
        rng = np.random.default_rng(100 + seed)
        Xt = rng.normal(size=(m + 1000, 8))
        yt = (Xt[:, 0] > 0).astype(int)
        boost = fitted(TrAdaBoost(LogisticRegression()), Xs, ys, Xt[:m], yt[:m])
        alone = LogisticRegression().fit(Xs, ys), LogisticRegression().fit(Xt[:m], yt[:m])
        out.append([model.score(Xt[m:], yt[m:]) for model in (*alone, boost)])
    return np.mean(out, axis=0)


def test_helps_where_part_of_the_source_contradicts_the_target():
    source, target, both = scores(right=0.7)
    assert both > source + 0.04 and both > target + 0.05


def test_fails_where_no_source_row_is_right():
    source, target, both = scores(right=0.0)
    assert source < 0.55 and both < target - 0.05


def test_a_source_that_outvotes_the_target_is_reported_and_overcome():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(1000, 3)), rng.normal(size=(40, 3))
    ys, yt = (Xs[:, 0] > 0).astype(int), (Xt[:, 0] < 0).astype(int)
    model = fitted(TrAdaBoost(n_estimators=20), Xs, ys, Xt, yt)
    assert model.estimator_errors_[0] > 0.9 and model.troubles_[0].code == "weak-learner"
    assert model.score(Xt, yt) == 1.0
    short = fitted(TrAdaBoost(n_estimators=1), Xs, ys, Xt, yt)  # no learner may vote: the last does
    assert short.estimator_weights_.tolist() == [1.0] and short.score(Xt, yt) < 0.1


def test_a_class_of_the_target_alone_and_sparse_rows():
    Xs, ys = three(90, 7)
    Xt, yt = three(60, 8)
    known = ys < 2
    dense = fitted(TrAdaBoost(n_estimators=4, target_share=0.5), Xs[known], ys[known], Xt, yt)
    assert dense.classes_.tolist() == [0, 1, 2] and (dense.predict(Xt) == 2).any()
    X, y, domain, labeled = stack_domains(Xs[known], ys[known], Xt, yt)
    model = TrAdaBoost(n_estimators=4, target_share=0.5)
    model.fit(sparse.csr_matrix(X), y, sample_domain=domain, target_labeled=labeled)
    near = np.abs(model.predict_proba(sparse.csr_matrix(Xt)) - dense.predict_proba(Xt))
    assert near.max() < 1e-3


def test_what_it_cannot_use_is_refused():
    Xs, ys = three(30, 0)
    Xt, yt = three(10, 1)
    for model, word in (
        (TrAdaBoost(n_estimators=0), "n_estimators"),
        (TrAdaBoost(target_share=0.0), "target_share"),
        (TrAdaBoost(KNeighborsClassifier()), "sample_weight"),
    ):
        with pytest.raises(UsageError, match=word):
            fitted(model, Xs, ys, Xt, yt)
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    with pytest.raises(DataError, match="none of 10 target rows is labelled"):
        TrAdaBoost().fit(X, y, sample_domain=domain)
    with pytest.raises(DataError, match="one class"):
        fitted(TrAdaBoost(), Xs, np.zeros(30), Xt, np.zeros(10))


def test_a_fit_that_did_not_converge_is_reported_not_warned_of():
    Xs, ys = three(60, 0)
    Xt, yt = three(20, 1)
    model = fitted(TrAdaBoost(LogisticRegression(max_iter=1), n_estimators=2), Xs, ys, Xt, yt)
    assert [trouble.code for trouble in model.troubles_] == ["not-converged"]
