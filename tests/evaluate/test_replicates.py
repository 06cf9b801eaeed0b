"""Every vectorised replicate equals scikit-learn's figure on the resampled rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sk

from isthmus.evaluate import classification, multilabel, regression
from isthmus.evaluate import replicates as rep
from isthmus.evaluate.calibration import reliability
from isthmus.evaluate.resample import Units, bootstrap_weights

N, K, B = 60, 4, 40


@pytest.fixture(params=["rows", "groups"])
def weights(request):
    groups = None if request.param == "rows" else np.arange(N) % 13
    units = Units.of(N, groups)
    (block,) = bootstrap_weights(units, n_boot=B, random_state=3)
    return block


def resampled(weights):
    """Row positions of each resample, written out."""
    for column in weights.T:
        yield np.repeat(np.arange(N), column.astype(int))


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    t = rng.choice(K, N, p=[0.5, 0.3, 0.17, 0.03])  # class 3 is missing from many resamples
    scores = np.round(rng.normal(size=(N, K)) + 1.5 * np.eye(K)[t], 1)  # rounding makes ties
    proba = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    p = proba.argmax(axis=1)
    p[p == 2] = rng.choice([0, 2], (p == 2).sum())
    return t, p, np.round(proba, 2) / np.round(proba, 2).sum(axis=1, keepdims=True)


def drawn(measured, weights):
    return {k: v for _, block in measured.blocks for k, v in block(weights).items()}


def test_classification(problem, weights):
    t, p, proba = problem
    names = np.array(["a", "b", "c", "d"], dtype=object)
    measured = classification.measure(
        names[t], predicted=names[p], proba=proba, classes=tuple(names)
    )
    got = drawn(measured, weights)
    for j, rows in enumerate(resampled(weights)):
        a, b, q = t[rows], p[rows], proba[rows]
        union = np.union1d(a, b)
        zero = {"labels": union, "zero_division": 0}
        expected = {
            "accuracy": sk.accuracy_score(a, b),
            "balanced_accuracy": sk.recall_score(a, b, labels=np.unique(a), average="macro"),
            "precision_macro": sk.precision_score(a, b, average="macro", **zero),
            "precision_weighted": sk.precision_score(a, b, average="weighted", **zero),
            "recall_weighted": sk.recall_score(a, b, average="weighted", **zero),
            "f1_macro": sk.f1_score(a, b, average="macro", **zero),
            "f1_weighted": sk.f1_score(a, b, average="weighted", **zero),
            "log_loss": sk.log_loss(a, q, labels=range(K)),
            "brier": np.mean(((q - np.eye(K)[a]) ** 2).sum(axis=1)),
            "ece": reliability(q.max(axis=1), q.argmax(axis=1) == a).ece,
            "roc_auc": np.mean([sk.roc_auc_score(a == k, q[:, k]) for k in np.unique(a)]),
        }
        for name, value in expected.items():
            assert got[name][j] == pytest.approx(value, abs=1e-12), name
        single = {"labels": range(K), "average": None, "zero_division": np.nan}
        for name, function in (
            ("precision", sk.precision_score),
            ("recall", sk.recall_score),
            ("f1", sk.f1_score),
        ):
            np.testing.assert_allclose(
                got[f"per_class.{name}"][:, j], function(a, b, **single), atol=1e-12
            )


def test_binary_auc_and_brier(problem, weights):
    t, _, proba = problem
    t = (t > 0).astype(int)
    q = np.stack([proba[:, 0], 1 - proba[:, 0]], axis=1)
    names = np.array(["no", "yes"], dtype=object)
    measured = classification.measure(
        names[t], predicted=names[q.argmax(axis=1)], proba=q, classes=("no", "yes")
    )
    got = drawn(measured, weights)
    assert measured.figures["roc_auc"].value == pytest.approx(sk.roc_auc_score(t, q[:, 1]))
    for j, rows in enumerate(resampled(weights)):
        assert got["roc_auc"][j] == pytest.approx(sk.roc_auc_score(t[rows], q[rows, 1]))
        assert got["brier"][j] == pytest.approx(sk.brier_score_loss(t[rows], q[rows, 1]))


def test_multilabel(weights):
    rng = np.random.default_rng(1)
    t = rng.random((N, K)) < [0.5, 0.3, 0.2, 0.04]
    scores = np.round(rng.random((N, K)) + 0.6 * t, 1)
    p = scores > [0.8, 0.8, 0.8, 1.55]
    measured = multilabel.measure(t, predicted=p, proba=scores, classes=())
    got = drawn(measured, weights)
    for j, rows in enumerate(resampled(weights)):
        a, b, q = t[rows], p[rows], scores[rows]
        occurs = a.any(axis=0)
        expected = {
            "subset_accuracy": sk.accuracy_score(a, b),
            "f1_micro": sk.f1_score(a, b, average="micro"),
            "f1_macro": sk.f1_score(a, b, average="macro", zero_division=np.nan),
            "hamming_loss": sk.hamming_loss(a, b),
            "mean_average_precision": sk.average_precision_score(a[:, occurs], q[:, occurs]),
        }
        for name, value in expected.items():
            assert got[name][j] == pytest.approx(value, abs=1e-12), name


def test_regression(weights):
    rng = np.random.default_rng(2)
    y = np.round(rng.normal(100, 3, N))  # ties, and a mean far from 0
    z = np.round(y + rng.normal(0, 2, N))
    got = drawn(regression.measure(y, predicted=z), weights)
    for j, rows in enumerate(resampled(weights)):
        a, b = y[rows], z[rows]
        expected = {
            "mae": sk.mean_absolute_error(a, b),
            "rmse": sk.mean_squared_error(a, b) ** 0.5,
            "r2": sk.r2_score(a, b),
            "median_ae": sk.median_absolute_error(a, b),
            "spearman": spearmanr(a, b).statistic,
        }
        for name, value in expected.items():
            assert got[name][j] == pytest.approx(value, abs=1e-10), name


def test_auc_without_one_side_is_nan():
    scores = np.array([0.1, 0.4, 0.9])
    assert np.isnan(rep.auc(np.ones(3, bool), scores)(np.ones((3, 2)))).all()
    assert np.isnan(rep.auc(np.zeros(3, bool), scores)(np.ones((3, 2)))).all()
    only_positive = np.array([[0.0], [0.0], [3.0]])
    assert np.isnan(rep.auc(np.array([False, False, True]), scores)(only_positive)).all()


def test_linearised_auc_agrees_with_the_exact_bootstrap():
    rng = np.random.default_rng(5)
    positive = rng.random(2000) < 0.3
    scores = np.round(rng.normal(size=2000) + positive, 2)
    area, influence = rep.auc_influence(positive, scores)
    assert area == pytest.approx(sk.roc_auc_score(positive, scores))
    assert abs(influence.mean()) < 1e-12
    (w,) = bootstrap_weights(Units.of(2000), n_boot=300, random_state=0)
    exact, linear = rep.auc(positive, scores)(w), area + influence @ w / 2000
    assert np.corrcoef(exact, linear)[0, 1] > 0.999
    assert linear.std() == pytest.approx(exact.std(), rel=0.02)


def test_large_sets_use_the_linearised_auc_and_say_so(problem, monkeypatch):
    t, p, proba = problem
    names = np.array(["a", "b", "c", "d"], dtype=object)
    exact = classification.measure(names[t], predicted=names[p], proba=proba, classes=tuple(names))
    monkeypatch.setattr(classification, "EXACT_WORK", 10)
    linear = classification.measure(names[t], predicted=names[p], proba=proba, classes=tuple(names))
    assert linear.figures["roc_auc"].value == pytest.approx(exact.figures["roc_auc"].value)
    assert "infinitesimal jackknife" in linear.figures["roc_auc"].how
    (w,) = bootstrap_weights(Units.of(N), n_boot=200, random_state=0)
    got = drawn(linear, w)
    assert got["roc_auc"].shape == (200,) and got["per_class.roc_auc"].shape == (K, 200)
