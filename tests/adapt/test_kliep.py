"""KLIEP against the true ratio of two Gaussians and against scipy's optimum of its problem."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from isthmus.adapt.kliep import KLIEP
from isthmus.adapt.mixture import proportions


@pytest.fixture(scope="module")
def gaussians():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(600, 1)), 0.7 + 0.7 * rng.normal(size=(600, 1))
    x = Xs[:, 0]
    return Xs, Xt, np.exp(-0.5 * ((x - 0.7) / 0.7) ** 2 + 0.5 * x**2) / 0.7


def test_finds_the_known_ratio(gaussians):
    Xs, Xt, true = gaussians
    got = KLIEP().adapt(Xs, None, Xt)
    assert np.corrcoef(got.weights, true)[0, 1] > 0.97
    # the held-out mean log ratio estimates KL(target || source), which is known as well
    kl = np.log(1 / 0.7) + (0.49 + 0.49) / 2 - 0.5
    assert got.info["log_likelihood"] == pytest.approx(kl, abs=0.1)


def test_the_mixture_is_at_its_optimum():
    rng = np.random.default_rng(1)
    parts = rng.gamma(0.5, size=(60, 5))
    b, gap, _ = proportions(np, parts, start=np.ones(5), tol=1e-8)
    want = minimize(
        lambda b: -np.log(parts @ b).mean(),
        np.full(5, 0.2),
        bounds=[(1e-12, 1)] * 5,
        constraints={"type": "eq", "fun": lambda b: b.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert b.sum() == pytest.approx(1) and gap <= 1e-8
    assert np.log(parts @ b).mean() >= -want.fun - 1e-9
    np.testing.assert_allclose(b, want.x, atol=1e-3)


def test_a_stated_gap_bounds_the_distance_to_the_optimum():
    rng = np.random.default_rng(2)
    parts = rng.gamma(0.3, size=(80, 8))
    best = np.log(parts @ proportions(np, parts, start=np.ones(8), tol=1e-9)[0]).mean()
    rough, gap, _ = proportions(np, parts, start=np.ones(8), tol=1e-2)
    assert 0 <= best - np.log(parts @ rough).mean() <= gap


def test_too_few_steps_are_said(gaussians):
    Xs, Xt, _ = gaussians
    (trouble,) = KLIEP(widths=(0.02,), max_iter=1).adapt(Xs, None, Xt).troubles
    assert trouble.code == "not-converged"


def test_choosing_by_fewer_rows_gives_nearly_the_same(gaussians):
    Xs, Xt, _ = gaussians
    exact, part = (
        KLIEP(solver=s, max_exact=300).adapt(Xs, None, Xt) for s in ("exact", "approximate")
    )
    assert np.corrcoef(exact.weights, part.weights)[0, 1] > 0.95
