"""Unbalanced transport: POT's own class, the balanced limit, and a target that lacks a class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.sinkhorn_transport import SinkhornTransport
from isthmus.adapt.unbalanced_transport import UnbalancedTransport
from isthmus.errors import UsageError

ot = pytest.importorskip("ot")


def missing_class(n=90, m=60, seed=0):
    """Three classes in the source, the first two in the target, which is moved a little."""
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 3, np.arange(m) % 2
    centres = np.array([[0.0, 0, 0], [5, 0, 0], [0, 8, 0]])
    Xs = rng.normal(size=(n, 3)) + centres[ys]
    return Xs, ys, rng.normal(size=(m, 3)) + centres[yt] + 0.8, yt


def test_equals_the_transport_class_of_pot():
    Xs, ys, Xt, _ = missing_class()
    model = ot.da.UnbalancedSinkhornTransport(
        reg_e=0.1, reg_m=0.5, norm="median", tol=1e-13, max_iter=10_000
    )
    theirs = model.fit(Xs=Xs, Xt=Xt).transform(Xs=Xs)
    got = UnbalancedTransport(
        0.1, relax_source=0.5, relax_target=0.5, tol=1e-13, max_iter=10_000, clip=1e9
    ).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(got.Xs, theirs, atol=1e-7)
    mass = model.coupling_.sum(axis=1)
    np.testing.assert_allclose(got.weights, mass / mass.mean(), rtol=1e-6)


def test_unrelaxed_marginals_are_sinkhorn():
    Xs, ys, Xt, _ = missing_class()
    free = float("inf")
    got = UnbalancedTransport(
        0.1, relax_source=free, relax_target=free, tol=1e-10, max_iter=5000
    ).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(
        got.Xs, SinkhornTransport(0.1, tol=1e-8).adapt(Xs, ys, Xt).Xs, atol=1e-4
    )
    np.testing.assert_allclose(got.weights, 1, atol=1e-6)


@pytest.mark.parametrize("solver", ["exact", "approximate"])
def test_rows_of_a_class_that_the_target_lacks_keep_little_mass(solver):
    Xs, ys, Xt, yt = missing_class(300, 200)
    got = UnbalancedTransport(solver=solver, batch=100).adapt(Xs, ys, Xt)
    share = got.weights[ys == 2].sum() / got.weights.sum()
    assert share < 0.03  # a third of the rows
    model = LogisticRegression().fit(got.Xs, ys, sample_weight=got.weights)
    balanced = LogisticRegression().fit(SinkhornTransport().adapt(Xs, ys, Xt).Xs, ys)
    assert model.score(Xt, yt) > 0.95 > 0.7 > balanced.score(Xt, yt)


def test_weights_can_be_left_out():
    Xs, ys, Xt, _ = missing_class()
    got = UnbalancedTransport(weigh=False).adapt(Xs, ys, Xt)
    assert got.weights is None and 0.5 < got.info["moved"] <= 1.001


def test_too_few_iterations_and_bad_numbers_are_said():
    Xs, ys, Xt, _ = missing_class()
    (trouble,) = UnbalancedTransport(max_iter=2).adapt(Xs, ys, Xt).troubles
    assert trouble.code == "not-converged" and "max_iter" in trouble.remedy
    with pytest.raises(UsageError, match="relax_source"):
        UnbalancedTransport(relax_source=0).adapt(Xs, ys, Xt)


def test_reg_below_the_range_of_floats_gives_finite_rows():
    Xs, ys, Xt, _ = missing_class()
    got = UnbalancedTransport(reg=1e-5, max_iter=50).adapt(Xs, ys, Xt)
    assert got.troubles and np.isfinite(got.Xs).all() and np.isfinite(got.weights).all()
