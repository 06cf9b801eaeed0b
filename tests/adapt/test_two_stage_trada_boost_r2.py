"""Two-stage TrAdaBoost.R2: the shares of its steps, its ends, the choice, drawn source rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from isthmus.adapt.boosting import boost_r2, weighted_median
from isthmus.adapt.few_labels import FewLabels
from isthmus.adapt.two_stage_trada_boost_r2 import TwoStageTrAdaBoostR2, dealt, shrunk
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError

TREE = DecisionTreeRegressor(max_depth=3, random_state=0)


def fitted(model, Xs, ys, Xt, yt):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def domains(n, m, seed, right):
    """A share of the source rows has the target's slope, the others the opposite one."""
    rng = np.random.default_rng(seed)
    Xs, Xt = rng.normal(size=(n, 10)), rng.normal(size=(m + 500, 10))
    slope = np.linspace(-1, 1, 10)
    good = rng.uniform(size=n) < right
    ys = np.where(good, Xs @ slope, Xs @ -slope) + 0.3 * rng.normal(size=n)
    return Xs, ys, Xt, Xt @ slope + 0.3 * rng.normal(size=len(Xt))


def test_adaboost_r2_without_a_source_follows_druckers_rounds():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X[:, 0] ** 2 + X[:, 1]
    models, votes, _ = boost_r2(TREE, X, y, np.ones(60), 0, n_estimators=5, seed=0)
    w, want = np.full(60, 1 / 60), []
    for number in range(5):
        loss = np.abs(TREE.fit(X, y, sample_weight=w).predict(X) - y)
        loss /= loss.max()
        error = np.sum(w * loss)
        want.append(np.log((1 - error) / error))
        np.testing.assert_allclose(models[number].predict(X), TREE.predict(X))
        w = w * (error / (1 - error)) ** (1 - loss)
        w /= w.sum()
    np.testing.assert_allclose(votes, want)


def test_the_source_weights_stay_frozen_in_the_second_stage():
    Xs, ys, Xt, yt = domains(50, 20, 0, 0.5)
    seen = []

    class Spy(DecisionTreeRegressor):
        def fit(self, X, y, sample_weight=None):
            seen.append(sample_weight / sample_weight.sum())
            return super().fit(X, y, sample_weight)

    X, y = np.r_[Xs, Xt[:20]], np.r_[ys, yt[:20]]
    weights = np.r_[np.full(50, 0.7 / 50), np.full(20, 0.3 / 20)]
    boost_r2(Spy(max_depth=2), X, y, weights, 50, n_estimators=3, seed=0)
    assert len(seen) == 3 and np.ptp(seen[2][50:]) > 1e-3
    for one in seen:
        np.testing.assert_allclose(one[:50], 0.7 / 50)
        assert one[50:].sum() == pytest.approx(0.3)


def test_each_step_gives_the_target_its_share_and_bad_source_rows_lose_first():
    rng = np.random.default_rng(0)
    weights, loss = np.full(100, 0.01), rng.uniform(size=100)
    for total in (0.9, 0.4, 1e-6, 0.0):
        out = shrunk(weights, loss, total)
        assert out.sum() == pytest.approx(total)
        assert (np.diff(out[np.argsort(loss)]) <= 1e-15).all()
    logs = np.log(shrunk(weights, loss, 0.3) / weights)  # proportional to the loss: one factor b
    np.testing.assert_allclose(logs / loss, logs[0] / loss[0])
    Xs, ys, Xt, yt = domains(80, 20, 0, 0.5)
    model = fitted(TwoStageTrAdaBoostR2(n_steps=5, n_estimators=2), Xs, ys, Xt[:20], yt[:20])
    np.testing.assert_allclose(model.info_["target_share"], [0.2, 0.4, 0.6, 0.8, 1.0])
    kept = model.info_["target_share"][model.step_]
    assert model.source_weights_.sum() == pytest.approx(100 * (1 - kept))


def test_a_useless_source_is_dropped_altogether():
    Xs, ys, Xt, yt = domains(200, 40, 0, right=0.0)
    model = fitted(TwoStageTrAdaBoostR2(n_steps=2), Xs, ys, Xt[:40], yt[:40])
    assert model.step_ == 1 and not model.source_weights_.any()
    models, votes, _ = boost_r2(
        model.estimators_[0], Xt[:40], yt[:40], np.ones(40), 0, n_estimators=10, seed=0
    )
    want = weighted_median(np.column_stack([m.predict(Xt[40:]) for m in models]), votes)
    np.testing.assert_allclose(model.predict(Xt[40:]), want)


def errors(right, m):
    """Mean absolute error of source-only, target-only (its own last step) and the method."""
    out = []
    for seed in range(4):
        Xs, ys, Xt, yt = domains(300, m, seed, right)
        both = fitted(TwoStageTrAdaBoostR2(n_steps=6, n_estimators=5), Xs, ys, Xt[:m], yt[:m])
        ends = [
            boost_r2(both.estimators_[0], X, y, np.ones(len(y)), 0, n_estimators=5, seed=0)[:2]
            for X, y in ((Xs, ys), (Xt[:m], yt[:m]))
        ]
        guesses = [weighted_median(np.column_stack([h.predict(Xt) for h in e]), v) for e, v in ends]
        guesses.append(both.predict(Xt))
        out.append([np.abs(g[m:] - yt[m:]).mean() for g in guesses])
    return np.mean(out, axis=0)


def test_helps_where_part_of_the_source_contradicts_the_target():
    source, target, both = errors(right=0.6, m=15)
    assert both < 0.8 * source and both < 0.9 * target


def test_fails_to_see_a_useless_source_with_a_handful_of_rows():
    """Four rows are a poor judge of ten steps: the choice costs what target-only would not."""
    _, target, both = errors(right=0.0, m=4)
    assert both > 1.02 * target


def test_drawn_source_rows_cost_little():
    scores = {}
    for solver in ("exact", "approximate"):
        missed = []
        for seed in range(2):
            Xs, ys, Xt, yt = domains(600, 20, seed, 0.6)
            model = TwoStageTrAdaBoostR2(solver=solver, max_exact=200, n_steps=6, n_estimators=5)
            fitted(model, Xs, ys, Xt[:20], yt[:20])
            missed.append(np.abs(model.predict(Xt[20:]) - yt[20:]).mean())
        assert (model.info_["solver"] == "exact") == (solver == "exact")
        scores[solver] = np.mean(missed)
    assert abs(scores["approximate"] - scores["exact"]) < 0.05 * np.std(yt)


def test_folds_do_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(17, 3)), rng.integers(0, 3, 17).astype(float)
    p = rng.permutation(17)
    none = X[:0]
    a, b = (
        dealt(FewLabels(none, y[:0], X, y, none), 5),
        dealt(FewLabels(none, y[:0], X[p], y[p], none), 5),
    )
    np.testing.assert_array_equal(a[p], b)
    assert np.bincount(a).tolist() == [4, 4, 3, 3, 3]


def test_what_it_cannot_use_is_refused():
    Xs, ys, Xt, yt = domains(20, 5, 0, 0.5)
    for name in ("n_steps", "n_estimators", "cv", "max_exact"):
        with pytest.raises(UsageError, match=name):
            fitted(TwoStageTrAdaBoostR2(**{name: 0}), Xs, ys, Xt, yt)
    with pytest.raises(UsageError, match="solver"):
        fitted(TwoStageTrAdaBoostR2(solver="fast"), Xs, ys, Xt, yt)
    with pytest.raises(DataError, match="one labelled target row"):
        fitted(TwoStageTrAdaBoostR2(), Xs, ys, Xt[:1], yt[:1])
