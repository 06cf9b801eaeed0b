"""Class relationship: contingency tables, unions of classes, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from isthmus.adapt.class_relationship import ClassRelationship
from isthmus.errors import DataError, UsageError

KIND = np.array(["cat", "dog", "wolf", "lynx", "oak", "elm"])
GROUP = np.array(["animal", "animal", "animal", "animal", "tree", "tree"])


def domains(n=600, m=600, shown=2, seed=0, spread=0.6, group=GROUP):
    """Six source kinds; the target names groups of them; `shown` labelled rows of each kind."""
    rng = np.random.default_rng(seed)
    centre = 3 * rng.normal(size=(6, 4))
    s, t = np.arange(n) % 6, np.arange(m) % 6
    Xs, Xt = (centre[c] + spread * rng.normal(size=(len(c), 4)) for c in (s, t))
    X = np.concatenate([Xs, Xt])
    y = np.concatenate([KIND[s], group[t]])
    domain = np.repeat([0, -1], [n, m])
    labeled = np.concatenate([np.zeros(n, dtype=bool), np.arange(m) < 6 * shown])
    return (X, y), {"sample_domain": domain, "target_labeled": labeled}, Xt, group[t]


class Sure:
    """A source classifier that is certain: the class is written in the first feature."""

    classes_ = np.array(["p", "q", "r"])

    def predict_proba(self, X):
        return np.eye(3)[X[:, 0].astype(int)]


def certain(seed=0, n=300):
    """Target rows, all labelled, from a known table p(y_s | y_t)."""
    rng = np.random.default_rng(seed)
    table = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    t = np.arange(n) % 2
    s = np.array([rng.choice(3, p=table[c]) for c in t])
    counts = np.array([[(s[t == c] == k).sum() for k in range(3)] for c in (0, 1)])
    return np.column_stack([s, rng.normal(size=n)]).astype(float), np.array(["u", "v"])[t], counts


@pytest.mark.parametrize("how", ["reverse", "direct"])
def test_with_a_certain_source_it_is_the_table_of_frequencies(how):
    X, y, counts = certain()
    model = ClassRelationship(source=Sure(), how=how, C=1e8)
    model.fit(X, y, sample_domain=np.full(300, -1), target_labeled=np.ones(300, dtype=bool))
    if how == "direct":  # a row's worth of the marginal is added to each class
        counts = counts + counts.sum(0) / 300
    np.testing.assert_allclose(
        model.relationship_, counts / counts.sum(1, keepdims=True), atol=2e-3
    )
    np.testing.assert_allclose(model.translation_.T, counts / counts.sum(0), atol=2e-3)
    proba = model.predict_proba(np.array([[2.0, 0.0]]))
    np.testing.assert_allclose(proba[0], counts[:, 2] / counts[:, 2].sum(), atol=2e-3)


@pytest.mark.parametrize("how", ["reverse", "direct"])
def test_finds_which_kinds_make_up_a_group(how):
    args, kept, _, _ = domains(shown=3)
    model = ClassRelationship(how=how).fit(*args, **kept)
    share = dict(zip(model.source_classes_, model.translation_.argmax(1)))
    want = dict(zip(KIND, np.searchsorted(["animal", "tree"], GROUP)))
    assert share == want
    np.testing.assert_allclose(model.relationship_.sum(axis=1), 1)
    np.testing.assert_allclose(model.translation_.sum(axis=1), 1)


def test_helps_against_the_labelled_target_rows_alone():
    gains = []
    for seed in range(4):
        args, kept, Xt, yt = domains(shown=1, seed=seed, spread=1.5)
        at = kept["target_labeled"]
        alone = LogisticRegression(max_iter=1000).fit(args[0][at], args[1][at]).score(Xt, yt)
        gains.append(ClassRelationship().fit(*args, **kept).score(Xt, yt) - alone)
    assert np.mean(gains) > 0.05


def test_fails_where_the_target_tells_apart_what_the_source_does_not():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(400, 2)), rng.normal(size=(400, 2))
    ys, yt = np.where(Xs[:, 0] > 0, "warm", "cold"), np.where(Xt[:, 1] > 0, "loud", "low")
    X, y = np.concatenate([Xs, Xt]), np.concatenate([ys, yt])
    domain = np.repeat([0, -1], 400)
    labeled = np.concatenate([np.zeros(400, dtype=bool), np.arange(400) < 40])
    model = ClassRelationship().fit(X, y, sample_domain=domain, target_labeled=labeled)
    alone = LogisticRegression().fit(Xt[:40], yt[:40]).score(Xt, yt)
    assert model.score(Xt, yt) < 0.65 and alone > 0.9


def test_probabilities_are_calibrated_on_held_out_source_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 40))
    y = np.where(X[:, 0] + 2 * rng.normal(size=300) > 0, "a", "b")
    domain = np.repeat([0, -1], 150)
    sure = LogisticRegression(C=1e6, max_iter=5000)  # 150 rows of 40 features: far too sure
    kept = {"sample_domain": domain, "target_labeled": (domain < 0) & (np.arange(300) < 190)}
    model = ClassRelationship(sure).fit(X, y, **kept)
    assert model.temperature_ > 1.5
    assert ClassRelationship(sure, temperature=2.0).fit(X, y, **kept).temperature_ == 2.0


def test_a_given_source_classifier_needs_no_source_rows():
    args, kept, Xt, _ = domains()
    target = kept["sample_domain"] < 0
    source = LogisticRegression(max_iter=1000).fit(args[0][~target], args[1][~target])
    mine = {name: value[target] for name, value in kept.items()}
    one = ClassRelationship(source=FrozenEstimator(source))
    a = one.fit(args[0][target], args[1][target], **mine).predict_proba(Xt)
    b = ClassRelationship(source=source).fit(*args, **kept).predict_proba(Xt)
    np.testing.assert_array_equal(a, b)
    assert one.temperature_ == 1.0 and "0 source rows not read" in one.info_["source"]


def test_kinds_without_a_labelled_row_are_said():
    args, kept, *_ = domains()
    at = np.flatnonzero(kept["target_labeled"])
    kept["target_labeled"][at[at % 6 == 2]] = False  # no wolf is labelled
    model = ClassRelationship().fit(*args, **kept)
    (trouble,) = model.troubles_
    assert trouble.code == "unseen-class" and "wolf" in trouble.reason


def test_what_cannot_be_used_is_refused():
    args, kept, _, _ = domains()
    with pytest.raises(DataError, match="labelled"):
        ClassRelationship().fit(*args, sample_domain=kept["sample_domain"])
    one = kept | {"target_labeled": kept["target_labeled"] & (args[1] == "tree")}
    with pytest.raises(DataError, match="labelled target rows have one class"):
        ClassRelationship().fit(*args, **one)
    for wrong in (
        {"how": "both"},
        {"C": 0},
        {"temperature": "warm"},
        {"source": LogisticRegression()},
        {"estimator": LinearSVC()},
    ):
        with pytest.raises(UsageError):
            ClassRelationship(**wrong).fit(*args, **kept)
