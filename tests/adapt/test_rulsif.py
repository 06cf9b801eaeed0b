"""RuLSIF against the true relative ratio of two Gaussians, its bound, and uLSIF at alpha 0."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.adapt.rulsif import RULSIF
from isthmus.adapt.ulsif import ULSIF
from isthmus.errors import UsageError


@pytest.fixture(scope="module")
def gaussians():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(600, 1)), 0.7 + 0.7 * rng.normal(size=(600, 1))
    x = Xs[:, 0]
    return Xs, Xt, np.exp(-0.5 * ((x - 0.7) / 0.7) ** 2 + 0.5 * x**2) / 0.7


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_finds_the_known_relative_ratio(gaussians, alpha):
    Xs, Xt, ratio = gaussians
    true = ratio / (alpha * ratio + 1 - alpha)
    got = RULSIF(alpha).adapt(Xs, None, Xt)
    assert np.corrcoef(got.weights, true)[0, 1] > 0.95


def test_flatter_with_alpha(gaussians):
    Xs, Xt, _ = gaussians
    sizes = [RULSIF(a).adapt(Xs, None, Xt).info["effective_sample_size"] for a in (0.0, 0.5, 0.9)]
    assert sizes == sorted(sizes)


def test_alpha_zero_is_ulsif(gaussians):
    Xs, Xt, _ = gaussians
    fixed = {"widths": (0.8,), "regs": (0.1,)}
    a, b = RULSIF(0.0, **fixed).adapt(Xs, None, Xt), ULSIF(**fixed).adapt(Xs, None, Xt)
    np.testing.assert_allclose(a.weights, b.weights, rtol=1e-9)


def test_choosing_by_fewer_rows_gives_nearly_the_same(gaussians):
    Xs, Xt, _ = gaussians
    exact, part = (
        RULSIF(solver=s, max_exact=300).adapt(Xs, None, Xt) for s in ("exact", "approximate")
    )
    assert np.corrcoef(exact.weights, part.weights)[0, 1] > 0.98


def test_alpha_one_is_refused(gaussians):
    Xs, Xt, _ = gaussians
    with pytest.raises(UsageError, match="alpha"):
        RULSIF(1.0).adapt(Xs, None, Xt)
