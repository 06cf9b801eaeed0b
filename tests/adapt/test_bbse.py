"""BBSE against a known prior, its own equation, and what it must say when it cannot work."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from isthmus.adapt.bbse import BBSE
from isthmus.adapt.confusion import inverted, joint
from isthmus.errors import DataError, UsageError
from isthmus.fit.estimator import DomainAdaptedClassifier

MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def shifted(source=(0.5, 0.3, 0.2), target=(0.1, 0.3, 0.6), n=1500, m=1200, seed=0, moved=0.0):
    """Three Gaussian classes; only their shares differ between the domains."""
    rng = np.random.default_rng(seed)
    ys, yt = rng.choice(3, n, p=source), rng.choice(3, m, p=target)
    Xs = MEANS[ys] + rng.normal(size=(n, 2))
    return Xs, np.array(["a", "b", "c"])[ys], MEANS[yt] + rng.normal(size=(m, 2)) + moved, yt


def prior_of(got):
    return np.array([v["value"] for v in got.info["target_prior"].values()])


@pytest.mark.parametrize("soft", [False, True])
def test_finds_the_known_prior_within_its_interval(soft):
    Xs, ys, Xt, yt = shifted()
    got = BBSE(soft=soft).adapt(Xs, ys, Xt)
    truth = np.bincount(yt) / len(yt)
    np.testing.assert_allclose(prior_of(got), truth, atol=0.05)
    for true, found in zip((0.1, 0.3, 0.6), got.info["target_prior"].values(), strict=True):
        assert found["low"] <= true <= found["high"] and found["high"] - found["low"] < 0.2


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    hits = []
    for seed in range(25):
        Xs, ys, Xt, _ = shifted(n=300, m=300, seed=seed)
        found = BBSE(cv=3, n_boot=100).adapt(Xs, ys, Xt).info["target_prior"].values()
        hits += [v["low"] <= t <= v["high"] for v, t in zip(found, (0.1, 0.3, 0.6), strict=True)]
    assert np.mean(hits) > 0.85


def test_weights_are_the_ratio_of_the_shares():
    Xs, ys, Xt, _ = shifted()
    got = BBSE().adapt(Xs, ys, Xt)
    ratio = prior_of(got) / np.array(list(got.info["source_prior"].values()))
    want = ratio[np.searchsorted(["a", "b", "c"], ys)]
    np.testing.assert_allclose(got.weights, want / want.mean())


def test_correction_helps_the_same_classifier():
    Xs, ys, Xt, yt = shifted(source=(0.8, 0.1, 0.1))
    X, y = np.r_[Xs, Xt], np.r_[ys, ys[: len(Xt)]]
    domain = np.repeat([0, -1], [len(Xs), len(Xt)])
    truth = np.array(["a", "b", "c"])[yt]
    plain, weighted, corrected = (
        (DomainAdaptedClassifier(a).fit(X, y, sample_domain=domain).predict(Xt) == truth).mean()
        for a in (None, BBSE(), BBSE(use="correction"))
    )
    assert weighted > plain + 0.03 and corrected > plain + 0.03


def test_the_matrix_is_the_papers():
    C = joint(np.eye(2)[[0, 1, 1, 1]], np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose(C, [[0.25, 0], [0.25, 0.5]])
    w, _ = inverted(C, C @ [0.4, 1.6])
    np.testing.assert_allclose(w, [0.4, 1.6])


def test_features_that_say_nothing_are_said():
    rng = np.random.default_rng(1)
    ys = np.repeat([0, 1], [290, 10])  # everything is called 0: a row of zeros in the matrix
    got = BBSE().adapt(rng.normal(size=(300, 2)), ys, rng.normal(size=(200, 2)))
    assert "singular" in {t.code for t in got.troubles}
    assert np.isfinite(got.weights).all()


def test_moved_features_are_where_it_fails():
    """Same shares, but features moved towards class b: BBSE takes the move for a new prior."""
    Xs, ys, Xt, _ = shifted(target=(0.5, 0.3, 0.2), moved=np.array([1.5, 0.0]))
    assert prior_of(BBSE().adapt(Xs, ys, Xt))[1] > 0.5


def test_fitting_on_fewer_rows_gives_nearly_the_same():
    Xs, ys, Xt, _ = shifted()
    a, b = (BBSE(solver=s, max_exact=500).adapt(Xs, ys, Xt) for s in ("exact", "approximate"))
    np.testing.assert_allclose(prior_of(a), prior_of(b), atol=0.03)


def test_what_cannot_be_measured_is_refused():
    Xs, ys, Xt, _ = shifted(n=30)
    with pytest.raises(DataError, match="two rows of two classes"):
        BBSE().adapt(Xs[:2], np.array(["a", "b"]), Xt)
    with pytest.raises(UsageError, match="predict_proba"):
        BBSE(LinearSVC()).adapt(Xs, ys, Xt)
    with pytest.raises(UsageError, match="use="):
        BBSE(use="both").adapt(Xs, ys, Xt)


def test_a_class_with_one_row_is_said():
    Xs, ys, Xt, _ = shifted(n=60)
    ys = np.where(np.arange(60) == 0, "z", ys)
    assert "rare-class" in {t.code for t in BBSE().adapt(Xs, ys, Xt).troubles}
