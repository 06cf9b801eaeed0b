"""KMM against scipy's solution of the same program, skada's objective and the true ratio."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics.pairwise import rbf_kernel

from isthmus.adapt.box_qp import project, solve
from isthmus.adapt.kernels import landmarks_of
from isthmus.adapt.kmm import FEW, KMM


def domains(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 0.8 * rng.normal(size=(n, d)) + 0.5


def program(Xs, Xt, gamma):
    K = rbf_kernel(Xs, gamma=gamma)
    kappa = rbf_kernel(Xs, Xt, gamma=gamma).sum(1) * len(Xs) / len(Xt)
    return K, kappa, lambda w: 0.5 * w @ K @ w - kappa @ w


@pytest.mark.parametrize(
    ("upper", "low", "high"), [(3.0, 1, 79), (1.2, 38, 42), (1e3, 60, 61), (5.0, 5, 20)]
)
def test_reaches_the_optimum_of_scipy(upper, low, high):
    Xs, Xt = domains(40, 3)
    K, kappa, f = program(Xs, Xt, 0.5)
    w, value, gap, _ = solve(
        np, lambda v: K @ v, kappa, upper=upper, low=low, high=high, tol=1e-8, max_iter=20000
    )
    want = minimize(
        f,
        np.full(40, min((low + high) / 80, upper)),
        jac=lambda w: K @ w - kappa,
        bounds=[(0, upper)] * 40,
        constraints=[
            {"type": "ineq", "fun": lambda w: high - w.sum()},
            {"type": "ineq", "fun": lambda w: w.sum() - low},
        ],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 1000},
    )
    assert (w >= 0).all() and (w <= upper).all() and low - 1e-6 <= w.sum() <= high + 1e-6
    assert value == pytest.approx(f(w))
    assert value <= want.fun + 1e-5 * abs(want.fun)
    assert value - gap <= want.fun + 1e-9 * abs(want.fun)


@pytest.mark.parametrize("stiff", [0.0, 7.0])
def test_the_projection_is_the_nearest_point_of_its_metric(stiff):
    rng = np.random.default_rng(3)
    v = 2 * rng.normal(size=12)
    got, _ = project(np, v, 1.5, 4.0, 6.0, stiff=stiff)

    def far(w):
        return ((w - v) ** 2).sum() + stiff / 12 * (w - v).sum() ** 2

    assert (got >= 0).all() and (got <= 1.5).all() and 4 - 1e-8 <= got.sum() <= 6 + 1e-8
    for _ in range(300):
        other, _ = project(np, got + 0.1 * rng.normal(size=12), 1.5, 4.0, 6.0)
        assert far(got) <= far(other) + 1e-7


@pytest.mark.parametrize("d", [5, 20])
def test_no_worse_than_skada_on_its_own_objective(d):
    reweight = pytest.importorskip("skada._reweight")
    Xs, Xt = domains(200, d)
    _, _, f = program(Xs, Xt, 1 / d)
    rival = reweight.KMMReweightAdapter(gamma=1 / d)
    rival.fit(np.r_[Xs, Xt], sample_domain=np.repeat([0, -1], 200))
    assert KMM(1 / d, tol=1e-3).adapt(Xs, None, Xt).info["objective"] <= f(rival.source_weights_)


def test_finds_the_known_ratio_and_so_does_nystroem():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(600, 1)), 0.7 + 0.7 * rng.normal(size=(600, 1))
    x = Xs[:, 0]
    true = np.exp(-0.5 * ((x - 0.7) / 0.7) ** 2 + 0.5 * x**2) / 0.7
    exact, part = (
        KMM(**s).adapt(Xs, None, Xt) for s in ({}, {"solver": "approximate", "n_landmarks": 256})
    )
    assert "Nystroem" in part.info["solver"]
    for got in (exact, part):
        assert np.corrcoef(got.weights, true)[0, 1] > 0.97
    np.testing.assert_allclose(exact.info["objective"], part.info["objective"], rtol=1e-3)


def test_the_number_of_landmarks_follows_from_the_rows():
    Xs, Xt = domains(60, 3)
    assert KMM(solver="approximate").adapt(Xs, None, Xt).info["solver"] == "exact"
    assert landmarks_of("approximate", 4001, 0, None, few=FEW) == 1265
    assert landmarks_of("auto", 100_000, 5000, None, few=FEW) == 253


def test_an_early_stop_is_said():
    Xs, Xt = domains(100, 5)
    codes = [t.code for t in KMM(max_iter=1, tol=1e-9).adapt(Xs, None, Xt).troubles]
    assert "not-converged" in codes
