"""Self-training: one round by hand, classes that keep their share, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from isthmus.adapt.self_training import SelfTraining, surest
from isthmus.data.domains import stack_domains
from isthmus.errors import UsageError


def line(seed=0, n=500, shift=1.0):
    """Two long classes; along the first feature, which tells them apart, the target is moved."""
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 2, np.arange(n) % 2
    Xs, Xt = (4.0 * y[:, None] * [1, 1] + 0.8 * rng.normal(size=(n, 2)) for y in (ys, yt))
    Xt[:, 0] += shift
    return Xs, ys, Xt, yt


def fitted(Xs, ys, Xt, **params):
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    return SelfTraining(**params).fit(X, y, sample_domain=domain)


def test_one_round_is_what_it_says():
    Xs, ys, Xt, _ = line(n=80)
    found = fitted(Xs, ys, Xt, shares=(0.5,), weight=0.25)
    first = LogisticRegression(max_iter=1000).fit(Xs, ys)
    proba = first.predict_proba(Xt)
    guess, sure = proba.argmax(axis=1), proba.max(axis=1)
    kept = []
    for c in (0, 1):
        rows = np.flatnonzero(guess == c)
        kept += list(rows[np.argsort(-sure[rows])][: len(rows) // 2])
    weights = np.r_[np.full(80, 0.75 / 80), np.full(len(kept), 0.25 / len(kept))]
    want = LogisticRegression(max_iter=1000).fit(
        np.r_[Xs, Xt[kept]], np.r_[ys, guess[kept]], sample_weight=weights * len(weights)
    )
    np.testing.assert_allclose(found.predict_proba(Xt), want.predict_proba(Xt), atol=1e-4)


def test_it_helps_where_sure_rows_are_right():
    Xs, ys, Xt, yt = line(shift=3.2)
    source = LogisticRegression().fit(Xs, ys).score(Xt, yt)
    found = fitted(Xs, ys, Xt)
    assert source < 0.93 and found.score(Xt, yt) > source + 0.05
    assert found.info_["changed"] > 0


def test_it_must_fail_where_sure_rows_are_wrong():
    """Moved by a whole class: the surest rows of one class belong to the other."""
    Xs, ys, Xt, yt = line(shift=-4.0)
    Xs, Xt = Xs[:, :1], Xt[:, :1]
    source = LogisticRegression().fit(Xs, ys).score(Xt, yt)
    assert fitted(Xs, ys, Xt).score(Xt, yt) <= source + 0.01


def test_the_surest_of_every_class_are_kept_and_ties_stay_together():
    guess = np.array([0, 0, 0, 0, 1, 1])
    sure = np.array([0.9, 0.8, 0.8, 0.6, 0.55, 0.5])
    assert surest(sure, guess, 0.5).tolist() == [True, True, True, False, True, False]
    assert surest(sure, guess, 0.01).tolist() == [True, False, False, False, True, False]
    assert surest(sure, guess, 1.0).all()


def test_known_labels_stand():
    Xs, ys, Xt, yt = line(shift=-4.0)
    X, y, domain, _ = stack_domains(Xs[:, :1], ys, Xt[:, :1])
    labeled = np.zeros(len(X), dtype=bool)
    labeled[len(Xs) :] = np.arange(len(Xt)) < 60
    y[labeled] = yt[:60]
    blind = fitted(Xs[:, :1], ys, Xt[:, :1]).score(Xt[:, :1], yt)
    helped = SelfTraining(weight=0.9).fit(X, y, sample_domain=domain, target_labeled=labeled)
    assert helped.score(Xt[:, :1], yt) > blind


def test_a_class_without_target_rows_is_reported():
    Xs, ys, Xt, yt = line(shift=0.0)
    found = fitted(Xs, ys, Xt[yt == 1])
    assert [t.code for t in found.troubles_] == ["empty-class"]


def test_many_rows_are_drawn_and_their_order_does_not_matter():
    Xs, ys, Xt, _ = line(n=900, shift=2.2)
    found = fitted(Xs, ys, Xt, max_rows=300)
    order = np.random.default_rng(1).permutation(900)
    again = fitted(Xs[order], ys[order], Xt[order[::-1]], max_rows=300)
    np.testing.assert_allclose(again.predict_proba(Xt), found.predict_proba(Xt), atol=1e-5)


@pytest.mark.parametrize(
    "params",
    [
        {"shares": ()},
        {"shares": (0.0,)},
        {"weight": 1.0},
        {"max_rows": 0},
        {"estimator": RidgeClassifier()},
    ],
)
def test_what_cannot_be_used_is_refused(params):
    Xs, ys, Xt, _ = line(n=30)
    with pytest.raises(UsageError):
        fitted(Xs, ys, Xt, **params)
