"""JDOT: the first plan, a shift that follows the labels, labelled rows, mini-batches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from isthmus.adapt.jdot import JDOT
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError

ot = pytest.importorskip("ot")


def domains(n=120, m=100, seed=0, turn=0.9):
    """Two classes; the target is turned by `turn` radians and moved."""
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 2, np.arange(m) % 2
    centre = np.array([[-2.0, 0], [2, 0]])
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    Xs = rng.normal(size=(n, 2)) * 0.7 + centre[ys]
    Xt = (rng.normal(size=(m, 2)) * 0.7 + centre[yt]) @ spin.T + [2.0, 1.0]
    return Xs, np.array(["n", "y"])[ys], Xt, np.array(["n", "y"])[yt]


def stacked(Xs, ys, Xt, yt=None):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    return (X, y), {"sample_domain": domain, "target_labeled": labeled}


def test_one_round_is_label_propagation_by_the_earth_mover():
    Xs, ys, Xt, _ = domains()
    args, kept = stacked(Xs, ys, Xt)
    model = JDOT(max_iter=1).fit(*args, **kept)
    plan = ot.emd(np.full(120, 1 / 120), np.full(100, 0.01), ot.dist(Xs, Xt))
    want = 100 * plan.T @ (ys[:, None] == model.classes_)
    np.testing.assert_allclose(model.shares_, want, atol=1e-10)
    assert model.troubles_[0].code == "not-converged"


def test_the_plan_is_the_optimum_under_the_classifier_that_was_fitted_to_it():
    """A fixed point: a plan computed anew from the final classifier brings the same shares."""
    Xs, ys, Xt, _ = domains()
    args, kept = stacked(Xs, ys, Xt)
    model = JDOT(max_iter=30).fit(*args, **kept)
    assert model.troubles_ == () and model.info_["rounds"] < 30
    cost = ot.dist(Xs, Xt)
    loss = -np.log(np.maximum(model.predict_proba(Xt), 1e-3))
    full = cost / np.median(cost) + loss[:, np.searchsorted(model.classes_, ys)].T
    plan = ot.emd(np.full(120, 1 / 120), np.full(100, 0.01), full)
    again = 100 * plan.T @ (ys[:, None] == model.classes_)
    assert np.abs(again - model.shares_).mean() < 0.01


@pytest.mark.parametrize("solver", ["exact", "approximate"])
def test_helps_where_the_source_classifier_fails(solver):
    Xs, ys, Xt, yt = domains(400, 300)
    args, kept = stacked(Xs, ys, Xt)
    model = JDOT(solver=solver, batch=100).fit(*args, **kept)
    least = 0.97 if solver == "exact" else 0.9  # labels hang on a few blocks
    assert LogisticRegression().fit(Xs, ys).score(Xt, yt) < 0.8 < least < model.score(Xt, yt)
    again = clone(model).fit(*args, **kept)
    np.testing.assert_array_equal(model.predict_proba(Xt), again.predict_proba(Xt))


def test_fails_when_the_turn_brings_each_class_to_the_other_and_labels_repair_it():
    Xs, ys, Xt, yt = domains(turn=np.pi)
    args, kept = stacked(Xs, ys, Xt)
    assert JDOT().fit(*args, **kept).score(Xt, yt) < 0.1
    few = np.where(np.arange(100) < 60, yt.astype(object), None)
    args, kept = stacked(Xs, ys.astype(object), Xt, few)
    assert JDOT(trade_off=5).fit(*args, **kept).score(Xt, yt) > 0.9


def test_approximate_covers_every_target_row_of_unequal_sides():
    for n, m in ((90, 25), (25, 90)):
        Xs, ys, Xt, _ = domains(n, m)
        args, kept = stacked(Xs, ys, Xt)
        model = JDOT(solver="approximate", batch=10).fit(*args, **kept)
        np.testing.assert_allclose(model.shares_.sum(axis=1), 1)
        assert len(model.shares_) == m


def test_what_it_cannot_use_is_refused():
    Xs, ys, Xt, _ = domains()
    args, kept = stacked(Xs, ys, Xt)
    with pytest.raises(UsageError, match="predict_proba"):
        JDOT(SVC()).fit(*args, **kept)
    with pytest.raises(UsageError, match="trade_off"):
        JDOT(trade_off=0).fit(*args, **kept)
    with pytest.raises(DataError, match="one class"):
        args, kept = stacked(Xs, np.full(120, "n"), Xt)
        JDOT().fit(*args, **kept)
