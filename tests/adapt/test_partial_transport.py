"""Partial transport: linear programming, the full share, and a target that lacks a class."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.emd_transport import EMDTransport
from isthmus.adapt.partial_transport import PartialTransport
from isthmus.errors import UsageError

ot = pytest.importorskip("ot")


def missing_class(n=90, m=60, seed=0):
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 3, np.arange(m) % 2
    centres = np.array([[0.0, 0, 0], [5, 0, 0], [0, 8, 0]])
    Xs = rng.normal(size=(n, 3)) + centres[ys]
    return Xs, ys, rng.normal(size=(m, 3)) + centres[yt] + 0.8, yt


@pytest.mark.parametrize(("source", "target"), [(0.6, 1.0), (0.5, 0.5), (0.5, 0.8)])
def test_equals_the_linear_programme(source, target):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(10, 2)), rng.normal(size=(7, 2)) + 1
    cost = ot.dist(Xs, Xt).ravel()
    rows, columns = np.kron(np.eye(10), np.ones(7)), np.kron(np.ones(10), np.eye(7))
    bound = np.r_[np.full(10, 0.1), np.full(7, source / target / 7)]
    best = linprog(
        cost, np.r_[rows, columns], bound, np.ones((1, 70)), [source], bounds=(0, None)
    ).x.reshape(10, 7)
    mass = best.sum(1)
    got = PartialTransport(source, share_target=target, clip=1e9).adapt(Xs, np.zeros(10), Xt)
    np.testing.assert_allclose(got.weights, mass / mass.mean(), atol=1e-6)
    moved = mass > 1e-9
    want = (best @ Xt)[moved] / mass[moved, None]
    np.testing.assert_allclose(got.Xs[moved], want, atol=1e-6)
    np.testing.assert_array_equal(got.Xs[~moved], Xs[~moved])
    assert got.info["moved"] == pytest.approx(source)


def test_all_of_both_is_the_earth_mover():
    Xs, ys, Xt, _ = missing_class()
    got = PartialTransport(1.0).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(got.Xs, EMDTransport().adapt(Xs, ys, Xt).Xs, atol=1e-8)
    np.testing.assert_allclose(got.weights, 1)


@pytest.mark.parametrize("solver", ["exact", "approximate"])
def test_rows_of_a_class_that_the_target_lacks_keep_little_mass(solver):
    Xs, ys, Xt, yt = missing_class(300, 200)
    got = PartialTransport(0.6, solver=solver, batch=100).adapt(Xs, ys, Xt)
    assert got.weights[ys == 2].sum() / got.weights.sum() < 0.02
    model = LogisticRegression().fit(got.Xs, ys, sample_weight=got.weights)
    full = LogisticRegression().fit(EMDTransport().adapt(Xs, ys, Xt).Xs, ys)
    assert model.score(Xt, yt) > 0.95 > 0.7 > full.score(Xt, yt)


def test_wrong_shares_and_a_simplex_cut_short_are_said():
    Xs, ys, Xt, _ = missing_class()
    with pytest.raises(UsageError, match="share_source"):
        PartialTransport(1.2).adapt(Xs, ys, Xt)
    (trouble,) = PartialTransport(max_iter=3).adapt(Xs, ys, Xt).troubles
    assert trouble.code == "not-converged" and "max_iter" in trouble.remedy
