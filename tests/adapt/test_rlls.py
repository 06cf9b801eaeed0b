"""RLLS against a general-purpose optimiser on its objective, a known prior, and its two ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from isthmus.adapt.bbse import BBSE
from isthmus.adapt.confusion import regularised
from isthmus.adapt.rlls import RLLS

MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def shifted(source=(0.5, 0.3, 0.2), target=(0.1, 0.3, 0.6), n=1500, m=1200, seed=0):
    rng = np.random.default_rng(seed)
    ys, yt = rng.choice(3, n, p=source), rng.choice(3, m, p=target)
    Xs = MEANS[ys] + rng.normal(size=(n, 2))
    return Xs, ys, MEANS[yt] + rng.normal(size=(m, 2)), yt


def prior_of(got):
    return np.array([v["value"] for v in got.info["target_prior"].values()])


@pytest.mark.parametrize("rho", [1e-3, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_no_optimiser_finds_a_better_value(rho, seed):
    rng = np.random.default_rng(seed)
    C = rng.dirichlet(np.ones(16)).reshape(4, 4) + 0.1 * np.eye(4)
    C /= C.sum()
    mu = rng.dirichlet(np.ones(4))
    b = mu - C.sum(1)

    def value(t):
        return np.linalg.norm(C @ t - b) + rho * np.linalg.norm(t)

    mine = value(regularised(C, mu, rho) - 1)
    for start in (np.full(4, 0.01), np.linalg.lstsq(C, b)[0].clip(-1)):
        found = minimize(value, start, bounds=[(-1, None)] * 4, method="L-BFGS-B")
        assert mine <= found.fun + 1e-6
    assert (regularised(C, mu, rho) >= -1e-9).all()


def test_finds_the_known_prior_within_its_interval():
    Xs, ys, Xt, yt = shifted()
    got = RLLS().adapt(Xs, ys, Xt)
    np.testing.assert_allclose(prior_of(got), np.bincount(yt) / len(yt), atol=0.05)
    for true, found in zip((0.1, 0.3, 0.6), got.info["target_prior"].values(), strict=True):
        assert found["low"] <= true <= found["high"]


def test_without_regularisation_it_is_bbse_and_with_much_there_is_no_shift():
    Xs, ys, Xt, _ = shifted()
    plain, none = RLLS(alpha=0, n_boot=2).adapt(Xs, ys, Xt), RLLS(alpha=1e4, n_boot=2)
    np.testing.assert_allclose(
        prior_of(plain), prior_of(BBSE(n_boot=2).adapt(Xs, ys, Xt)), atol=1e-5
    )
    np.testing.assert_allclose(none.adapt(Xs, ys, Xt).weights, 1.0, atol=1e-6)


def test_a_singular_matrix_gives_finite_weights():
    rng = np.random.default_rng(1)
    ys = np.repeat([0, 1], [290, 10])
    got = RLLS(n_boot=5).adapt(rng.normal(size=(300, 2)), ys, rng.normal(size=(200, 2)))
    assert np.isfinite(got.weights).all() and got.info["condition"] > 100
