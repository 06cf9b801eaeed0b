"""uLSIF against the true ratio of two Gaussians, its closed form and leave-one-out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.adapt.least_squares import leave_one_out
from isthmus.adapt.ulsif import ULSIF


@pytest.fixture(scope="module")
def gaussians():
    """N(0, 1) -> N(0.7, 0.7^2): the ratio at the source rows is known."""
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(600, 1)), 0.7 + 0.7 * rng.normal(size=(600, 1))
    x = Xs[:, 0]
    true = np.exp(-0.5 * ((x - 0.7) / 0.7) ** 2 + 0.5 * x**2) / 0.7
    return Xs, Xt, true


def test_finds_the_known_ratio(gaussians):
    Xs, Xt, true = gaussians
    got = ULSIF().adapt(Xs, None, Xt)
    assert np.corrcoef(got.weights, true)[0, 1] > 0.95
    assert np.mean((got.weights - true / true.mean()) ** 2) < 0.1 * true.var()
    assert got.info["effective_sample_size"] == pytest.approx(
        true.sum() ** 2 / (true**2).sum(), rel=0.2
    )


def test_equals_the_closed_form_for_one_width_and_ridge(gaussians):
    Xs, Xt, _ = gaussians
    Xt = Xt[:50]  # fewer rows than centres: every target row is one
    got = ULSIF(widths=(0.8,), regs=(0.1,)).adapt(Xs, None, Xt)
    Ks, Kt = (np.exp(-((X - Xt.T) ** 2) / (2 * 0.8**2)) for X in (Xs, Xt))
    theta = np.linalg.solve(Ks.T @ Ks / len(Xs) + 0.1 * np.eye(50), Kt.mean(0)).clip(0)
    want = Ks @ theta
    np.testing.assert_allclose(got.weights, want / want.mean(), rtol=1e-6)


def test_leave_one_out_in_closed_form_equals_leaving_rows_out():
    rng = np.random.default_rng(1)
    Ks, Kt, reg = rng.random((9, 4)), rng.random((7, 4)), 0.3
    total = 0.0
    for i in range(7):
        A, T = np.delete(Ks, i, 0), np.delete(Kt, i, 0)
        theta = np.linalg.solve(A.T @ A / len(A) + reg * np.eye(4), T.mean(0)).clip(0)
        total += (Ks[i] @ theta) ** 2 / 2 - Kt[i] @ theta
    assert leave_one_out(np, Ks, Kt, reg) == pytest.approx(total / 7, rel=1e-9)


def test_choosing_by_fewer_rows_gives_nearly_the_same(gaussians):
    Xs, Xt, _ = gaussians
    exact = ULSIF(solver="exact").adapt(Xs, None, Xt)
    part = ULSIF(solver="approximate", max_exact=300).adapt(Xs, None, Xt)
    assert part.info["rows_for_choice"] == 600
    assert np.corrcoef(exact.weights, part.weights)[0, 1] > 0.98


def test_domains_apart_are_said_not_hidden():
    rng = np.random.default_rng(2)
    Xs, Xt = rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 6
    codes = {t.code for t in ULSIF().adapt(Xs, None, Xt).troubles}
    assert "not-normalised" in codes
