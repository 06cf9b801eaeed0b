"""Wasserstein distances against SciPy, POT and an independent maximisation of the dual."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import wasserstein_distance

from isthmus.discrepancy.wasserstein import entropic_wasserstein, sliced_wasserstein
from isthmus.errors import UsageError


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)), rng.normal(size=(18, 3)) * 1.5 + 1


def test_one_dimension_is_scipys(pair):
    zs, zt = (z[:, :1] for z in pair)
    got = sliced_wasserstein(zs, zt, p=1)
    assert got.value == pytest.approx(wasserstein_distance(zs[:, 0], zt[:, 0]))
    assert got.interval is None and "exact" in got.how


@pytest.mark.parametrize("p", [1, 2, 3])
def test_same_directions_give_pots_value(pair, p):
    ot = pytest.importorskip("ot")
    directions = np.random.default_rng(7).standard_normal((3, 40))
    directions /= np.linalg.norm(directions, axis=0)
    expected = ot.sliced_wasserstein_distance(*pair, projections=directions, p=p)
    got = sliced_wasserstein(*pair, p=p, n_projections=40, random_state=7)
    assert got.value == pytest.approx(expected)


def test_shift_has_a_closed_form():
    # a pure shift v: E |u . v|^2 = |v|^2 / d
    z = np.random.default_rng(1).normal(size=(30, 5))
    got = sliced_wasserstein(z, z + np.array([3, 0, 0, 0, 0]), n_projections=2000)
    assert got.interval.low < 3 / np.sqrt(5) < got.interval.high
    assert got.interval.high - got.interval.low < 0.15


def test_sliced_invariances(pair):
    zs, zt = pair
    value = sliced_wasserstein(zs, zt).value
    assert sliced_wasserstein(zs[::-1] + 9, zt[::-1] + 9).value == pytest.approx(value)
    assert sliced_wasserstein(zt, zs).value == pytest.approx(value)
    assert sliced_wasserstein(3 * zs, 3 * zt).value == pytest.approx(3 * value)
    twice = np.repeat(zs, 3, axis=0)  # the same distribution, another number of rows
    assert sliced_wasserstein(zs, twice).value == pytest.approx(0, abs=1e-9)


def test_chunks_of_directions(pair, monkeypatch):
    whole = sliced_wasserstein(*pair)
    monkeypatch.setattr("isthmus.discrepancy.wasserstein.CELLS", 100)
    assert sliced_wasserstein(*pair).value == pytest.approx(whole.value)


def dual(a, b, strength):
    """Entropic transport by L-BFGS on its semi-dual: no Sinkhorn step in it."""
    costs = cdist(a, b, "sqeuclidean")

    def negative(g):
        f = -strength * (logsumexp((g - costs) / strength, axis=1) - np.log(len(b)))
        share = np.exp((g - costs + f[:, None]) / strength).mean(axis=0) / len(b)
        return -(f.mean() + g.mean()), share - 1 / len(b)

    tight = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
    return -minimize(negative, np.zeros(len(b)), jac=True, method="L-BFGS-B", options=tight).fun


def test_sinkhorn_divergence_by_definition(pair):
    pytest.importorskip("ot")
    zs, zt = pair
    strength = 0.2 * cdist(zs, zt, "sqeuclidean").mean()
    expected = dual(zs, zt, strength) - (dual(zs, zs, strength) + dual(zt, zt, strength)) / 2
    got = entropic_wasserstein(zs, zt, reg=0.2)
    assert got.value == pytest.approx(expected, rel=1e-5)
    assert got.troubles == ()


def test_limits_of_the_divergence(pair):
    ot = pytest.importorskip("ot")
    zs, zt = pair
    exact = ot.emd2([], [], cdist(zs, zt, "sqeuclidean"))
    sharp = entropic_wasserstein(zs, zt, reg=0.01)
    assert sharp.value == pytest.approx(exact, rel=0.02)
    means = ((zs.mean(0) - zt.mean(0)) ** 2).sum()
    assert entropic_wasserstein(zs, zt, reg=1e4).value == pytest.approx(means, rel=1e-3)
    assert entropic_wasserstein(zs, zs).value == pytest.approx(0, abs=1e-6)
    shifted = entropic_wasserstein(zs, zs + np.array([2.0, 0, 0]))
    assert shifted.value == pytest.approx(4, rel=1e-3)  # |shift|^2 at every strength


def test_trouble_and_draws(pair):
    pytest.importorskip("ot")
    zs, zt = pair
    rushed = entropic_wasserstein(zs, zt, reg=1e-3, max_iter=2)
    assert [t.code for t in rushed.troubles] == ["not-converged"]
    rng = np.random.default_rng(2)
    zs, zt = rng.normal(size=(240, 2)), rng.normal(size=(200, 2)) + 2
    drawn = entropic_wasserstein(zs, zt, max_rows=80, n_draws=5)
    assert drawn.interval.low < entropic_wasserstein(zs, zt).value < drawn.interval.high
    with pytest.raises(UsageError, match="positive"):
        entropic_wasserstein(zs, zt, reg=0)


def test_torch_equals_numpy(pair):
    pytest.importorskip("ot")
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(z) for z in pair]
    assert sliced_wasserstein(*tensors).value == pytest.approx(sliced_wasserstein(*pair).value)
    assert entropic_wasserstein(*tensors).value == pytest.approx(entropic_wasserstein(*pair).value)


def test_chance_tells_sampling_from_a_shift():
    # in 100 dimensions two samples of one distribution lie far apart; chance says how far
    pytest.importorskip("ot")
    rng = np.random.default_rng(3)
    for measure in (sliced_wasserstein, entropic_wasserstein):
        same = measure(rng.normal(size=(80, 100)), rng.normal(size=(80, 100)))
        assert same.value > 0.05 and same.value == pytest.approx(same.info["chance"], rel=0.2)
        moved = measure(rng.normal(size=(80, 100)), rng.normal(size=(80, 100)) + 1)
        assert moved.value > 1.3 * moved.info["chance"]
