"""Ridge heads against scikit-learn and against leaving rows out one by one."""

import json

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier

from isthmus.errors import BundleError, DataError, UsageError
from isthmus.fit import RidgeHead, RidgeRegressorHead
from isthmus.fit.folds import folds


def data(n=60, d=8, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, d)) + 2).astype(dtype)
    return X, X @ rng.normal(size=d) + rng.normal(size=n) * 2 + 5


@pytest.mark.parametrize("shape", [(60, 8), (12, 40)])
@pytest.mark.parametrize("alpha", [0.1, 30.0])
def test_regression_is_that_of_scikit_learn(shape, alpha):
    X, y = data(*shape)
    w = np.random.default_rng(1).random(len(X)) + 0.5
    ours = RidgeRegressorHead(alpha).fit(X, y, sample_weight=w)
    peer = Ridge(alpha).fit(X, y, sample_weight=w)
    assert np.allclose(ours.coef_, peer.coef_) and np.isclose(ours.intercept_, peer.intercept_)
    assert np.allclose(ours.predict(X), peer.predict(X))


@pytest.mark.parametrize("shape", [(30, 5), (12, 40)])
def test_leave_one_out_is_leaving_each_row_out(shape):
    X, y = data(*shape)
    grid = [0.01, 1.0, 100.0]
    head = RidgeRegressorHead(grid).fit(X, y)
    for alpha in grid:
        errors = []
        for i in range(len(X)):
            rest = np.arange(len(X)) != i
            errors.append(y[i] - Ridge(alpha).fit(X[rest], y[rest]).predict(X[i : i + 1])[0])
        assert head.cv_losses_[alpha] == pytest.approx(np.mean(np.square(errors)), rel=1e-6)
        if alpha == head.alpha_:
            assert np.allclose(head.oof_predictions_, y - errors, atol=1e-3)
    assert head.alpha_ == min(head.cv_losses_, key=head.cv_losses_.get)


def test_grouped_choice_is_that_of_refits():
    X, y = data(80, 6)
    groups = np.arange(80) // 8
    grid = [0.1, 10.0]
    head = RidgeRegressorHead(grid).fit(X, y, groups=groups)
    for alpha in grid:
        total = 0.0
        for train, test in folds(y, task="regression", groups=groups):
            guess = Ridge(alpha).fit(X[train], y[train]).predict(X[test])
            total += np.sum((y[test] - guess) ** 2)
        assert head.cv_losses_[alpha] == pytest.approx(total / 80)
    assert head.alpha_how_ == "grouped cross-validation"
    alone = RidgeRegressorHead().fit(X, y, groups=np.zeros(80))
    assert "one group" in alone.alpha_how_


def test_several_targets():
    X, y = data()
    Y = np.column_stack([y, -2 * y])
    head = RidgeRegressorHead().fit(X, Y)
    assert head.predict(X).shape == (60, 2) and head.coef_.shape == (2, 8)
    assert np.allclose(head.predict(X)[:, 1], -2 * head.predict(X)[:, 0])


@pytest.mark.parametrize("K", [2, 4])
def test_classifier_is_that_of_scikit_learn(K):
    X, _ = data(120, 10)
    y = (np.argsort(np.argsort(X[:, 0])) * K // 120).astype(int)
    ours = RidgeHead(2.0, class_weight="balanced").fit(X, y)
    peer = RidgeClassifier(2.0, class_weight="balanced").fit(X, y)
    assert np.allclose(ours.decision_function(X), peer.decision_function(X))
    assert (ours.predict(X) == peer.predict(X)).all()


def test_probabilities_are_calibrated_by_held_out_scores():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 3000)
    X = np.eye(3)[y] * 2.0 @ rng.normal(size=(3, 20)) * 0.4 + rng.normal(size=(3000, 20))
    head = RidgeHead().fit(X[:1500], y[:1500])
    p = head.predict_proba(X[1500:])
    assert abs(p.max(axis=1).mean() - (p.argmax(axis=1) == y[1500:]).mean()) < 0.03
    assert head.scale_ > 1.5  # plain softmax of -1..1 scores would be far too timid
    assert head.oof_rows_.all()


def test_a_class_of_one_row_is_not_scored():
    X, _ = data(41, 5)
    y = np.append(np.arange(40) % 2, 5)
    head = RidgeHead().fit(X, y)
    assert not head.oof_rows_[40] and head.oof_rows_[:40].all()
    few = RidgeHead().fit(X[:2], [0, 1])
    assert few.scale_ == 1.0 and "nothing" in few.scale_how_


def test_states():
    X, y = data()
    for head in (
        RidgeRegressorHead().fit(X, y),
        RidgeRegressorHead().fit(X, np.column_stack([y, y])),
        RidgeHead().fit(X, np.where(y > np.median(y), "yes", "no")),
    ):
        tensors, meta = head.to_state()
        again = type(head).from_state(tensors, json.loads(json.dumps(meta)))
        assert (
            again.predict(X).tobytes() == head.predict(X).tobytes()
            or (again.predict(X) == head.predict(X)).all()
        )
    with pytest.raises(BundleError):
        RidgeHead.from_state({}, meta)


def test_refusals():
    X, y = data()
    for bad in ("auto", 0.0, [1.0, -1.0]):
        with pytest.raises(UsageError):
            RidgeRegressorHead(bad).fit(X, y)
    with pytest.raises(DataError, match="NaN"):
        RidgeRegressorHead().fit(X, np.where(y > 5, np.nan, y))
