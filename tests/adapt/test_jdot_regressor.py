"""JDOT for regression: skada on the same problem, a moved target, labelled rows, mini-batches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from isthmus.adapt.jdot_regressor import JDOTRegressor
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError

ot = pytest.importorskip("ot")


def domains(n=100, m=80, seed=0):
    """The target is moved along the feature that explains y; y stays with the row."""
    rng = np.random.default_rng(seed)
    Xs, Xt = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    ys, yt = (3 * X[:, 0] + 0.1 * rng.normal(size=len(X)) for X in (Xs, Xt))
    return Xs, ys, Xt + np.array([1.5, 0.0]), yt


def fit(model, Xs, ys, Xt, yt=None):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def test_equals_skada_on_the_same_cost():
    skada = pytest.importorskip("skada._ot")
    Xs, ys, Xt, _ = domains(40, 30)
    theirs, *_ = skada.solve_jdot_regression(
        Ridge(1e-8), Xs, ys / ys.std(), Xt, alpha=0.5, n_iter_max=50, tol=1e-12
    )
    cost = ot.dist(Xs, Xt)
    trade_off = cost.mean() / np.median(cost)  # skada divides costs by their mean
    ours = fit(JDOTRegressor(Ridge(1e-8), trade_off=trade_off, max_iter=50, tol=1e-9), Xs, ys, Xt)
    np.testing.assert_allclose(ours.predict(Xt), theirs.predict(Xt) * ys.std(), atol=1e-5)


@pytest.mark.parametrize("solver", ["exact", "approximate"])
def test_helps_where_the_features_moved(solver):
    Xs, ys, Xt, yt = domains(300, 240)
    model = fit(JDOTRegressor(solver=solver, batch=100), Xs, ys, Xt)
    assert LinearRegression().fit(Xs, ys).score(Xt, yt) < 0 < 0.9 < model.score(Xt, yt)


def test_several_values_and_labelled_target_rows():
    Xs, ys, Xt, _ = domains()
    both = np.c_[ys, -ys]
    model = fit(JDOTRegressor(), Xs, both, Xt)
    got = model.predict(Xt)
    assert got.shape == (80, 2) and model.values_.shape == (80, 2)
    np.testing.assert_allclose(got[:, 0], -got[:, 1], atol=1e-6)
    wrong = fit(JDOTRegressor(), Xs, ys, Xt, np.full(80, 7.0))  # every target row is labelled 7
    np.testing.assert_allclose(wrong.predict(Xt), 7.0, atol=1e-6)


def test_the_end_of_the_rounds_is_said_and_bad_values_are_refused():
    Xs, ys, Xt, _ = domains()
    (trouble,) = fit(JDOTRegressor(max_iter=2), Xs, ys, Xt).troubles_
    assert trouble.code == "not-converged" and "max_iter" in trouble.remedy
    with pytest.raises(DataError):
        fit(JDOTRegressor(), Xs, np.r_[np.inf, ys[1:]], Xt)
