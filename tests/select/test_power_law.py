"""The law through a curve: exact curves come back, limits hold, many draws equal one by one."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.select.power_law import EXPONENTS, OFFSETS, fit_laws

SIZES = np.array([4, 8, 16, 32, 64])


@pytest.mark.parametrize("c", EXPONENTS[[1, 4, 7]])
@pytest.mark.parametrize("m", OFFSETS)
def test_an_exact_curve_comes_back(c, m):
    curve = 0.9 - 0.4 * (SIZES / m + 1) ** -c
    law = fit_laws(SIZES, curve[None])
    assert (law.c[0], law.m[0]) == (c, m)
    np.testing.assert_allclose([law.a[0], law.b[0]], [0.9, 0.4], atol=1e-9)
    np.testing.assert_allclose(law.at(200), 0.9 - 0.4 * (200 / m + 1) ** -c)


def test_a_falling_curve_gives_a_flat_law():
    law = fit_laws(SIZES, np.array([[0.8, 0.7, 0.6, 0.5, 0.4]]))
    assert law.b[0] == 0 and law.at(10)[0] == law.at(1000)[0] == pytest.approx(0.6)


def test_no_law_rises_above_the_limit():
    rng = np.random.default_rng(0)
    curves = np.clip(np.linspace(0.5, 0.99, 5) + 0.05 * rng.normal(size=(200, 5)), 0, 1)
    laws = fit_laws(SIZES, curves)
    assert (laws.at(1e9) <= 1).all() and (laws.b >= 0).all()
    errors = fit_laws(SIZES, curves - 2, upper=0.0)
    assert (errors.at(1e9) <= 0).all()


def test_the_grid_has_no_better_law():
    """Against a general constrained least squares over the same grid."""
    from scipy.optimize import lsq_linear

    curve = np.array([0.55, 0.7, 0.74, 0.9, 0.97])
    law = fit_laws(SIZES, curve[None])
    ours = np.sum((law.a - law.b * (SIZES / law.m + 1) ** -law.c - curve) ** 2)
    best = np.inf
    for c in EXPONENTS:
        for m in OFFSETS:
            A = np.column_stack([np.ones(5), -((SIZES / m + 1) ** -c)])
            found = lsq_linear(A, curve, bounds=([-np.inf, 0], [1, np.inf]), tol=1e-12)
            best = min(best, 2 * found.cost)
    assert ours == pytest.approx(best, rel=1e-4)


def test_draws_do_not_touch_each_other():
    rng = np.random.default_rng(1)
    curves = np.linspace(0.5, 0.8, 5) + 0.05 * rng.normal(size=(20, 5))
    every = fit_laws(SIZES, curves)
    for i in (0, 7, 19):
        one = fit_laws(SIZES, curves[[i]])
        assert one.at(100)[0] == pytest.approx(every.at(100)[i], rel=1e-12)
