"""Sinkhorn transport: POT's own class, its limits in reg, and what it says when it fails."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.adapt.emd_transport import EMDTransport
from isthmus.adapt.sinkhorn_transport import SinkhornTransport
from isthmus.errors import UsageError

ot = pytest.importorskip("ot")


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), np.arange(60) % 2, rng.normal(size=(45, 3)) * 2 + 1


def test_equals_the_transport_class_of_pot(domains):
    Xs, ys, Xt = domains
    model = ot.da.SinkhornTransport(reg_e=0.1, norm="median", tol=1e-12, max_iter=10_000)
    theirs = model.fit(Xs=Xs, Xt=Xt).transform(Xs=Xs)
    got = SinkhornTransport(reg=0.1, tol=1e-11, max_iter=10_000).adapt(Xs, ys, Xt)
    np.testing.assert_allclose(got.Xs, theirs, atol=1e-8)


def test_little_entropy_is_the_earth_mover_and_much_is_the_mean(domains):
    Xs, ys, Xt = domains
    exact = EMDTransport().adapt(Xs, ys, Xt).Xs
    close = SinkhornTransport(reg=3e-3, max_iter=4000, tol=1e-2).adapt(Xs, ys, Xt)
    assert np.abs(close.Xs - exact).mean() < 0.05 * Xt.std()
    flat = SinkhornTransport(reg=1e3).adapt(Xs, ys, Xt).Xs
    np.testing.assert_allclose(flat, np.broadcast_to(Xt.mean(0), flat.shape), atol=1e-2)


def test_the_log_domain_gives_the_same_plan(domains):
    a, b = (SinkhornTransport(log_domain=on, tol=1e-8).adapt(*domains).Xs for on in (True, False))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_too_few_iterations_are_said_with_the_marginal_error(domains):
    got = SinkhornTransport(reg=0.002, max_iter=5).adapt(*domains)
    (trouble,) = got.troubles
    assert trouble.code == "not-converged" and "reg" in trouble.remedy
    assert f"{got.info['marginal_error']:.2g}" in trouble.reason
    assert got.info["marginal_error"] > 1e-3


def test_underflow_is_said_and_the_automatic_choice_goes_to_the_log_domain(domains):
    got = SinkhornTransport(reg=1e-5, log_domain=False).adapt(*domains)
    (trouble,) = got.troubles
    assert trouble.code == "not-converged" and "log_domain=True" in trouble.remedy
    assert np.isfinite(got.Xs).all()
    auto = SinkhornTransport(reg=1e-5, max_iter=50).adapt(*domains)
    assert "did not converge in 50" in auto.troubles[0].reason
    assert np.isfinite(auto.Xs).all() and np.isfinite(auto.info["marginal_error"])


def test_reg_is_in_units_of_the_median_cost(domains):
    Xs, ys, Xt = domains
    a, b = SinkhornTransport().adapt(Xs, ys, Xt), SinkhornTransport().adapt(Xs * 7, ys, Xt * 7)
    np.testing.assert_allclose(a.Xs * 7, b.Xs, rtol=1e-6, atol=1e-7)


def test_mini_batches_count_the_plans_that_failed(domains):
    got = SinkhornTransport(
        reg=0.002, max_iter=5, solver="approximate", batch=20, random_state=3
    ).adapt(*domains)
    assert "of 3 mini-batches" in got.troubles[0].reason


def test_reg_must_be_positive(domains):
    with pytest.raises(UsageError, match="reg"):
        SinkhornTransport(reg=0).adapt(*domains)
