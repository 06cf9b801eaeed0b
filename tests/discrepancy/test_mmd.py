"""MMD against the double sum, closed forms, and uniform p-values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import kstest

from isthmus.discrepancy.mmd import FACTORS, median_distance, mmd, mmd_test
from isthmus.errors import DataError, UsageError


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(23, 4)), rng.normal(size=(31, 4)) * 1.5 + 0.4


def brute(zs, zt, kernel, unbiased):
    """Gretton et al. 2012, equations 3 and 5, pair by pair."""
    m, n = len(zs), len(zt)
    xx = sum(kernel(zs[i], zs[j]) for i in range(m) for j in range(m) if not unbiased or i != j)
    yy = sum(kernel(zt[i], zt[j]) for i in range(n) for j in range(n) if not unbiased or i != j)
    xy = sum(kernel(a, b) for a in zs for b in zt)
    ways = (m * (m - 1), n * (n - 1)) if unbiased else (m * m, n * n)
    return xx / ways[0] + yy / ways[1] - 2 * xy / (m * n)


@pytest.mark.parametrize("unbiased", [True, False])
def test_equals_the_double_sum(pair, unbiased):
    def rbf(b):
        return lambda x, y: np.exp(-((x - y) ** 2).sum() / (2 * b**2))

    median = np.median(pdist(np.concatenate(pair)))
    kernels = {
        "rbf": rbf(median),
        "multi": lambda x, y: np.mean([rbf(f * median)(x, y) for f in FACTORS]),
        "linear": lambda x, y: x @ y,
    }
    for name, kernel in kernels.items():
        got = mmd(*pair, kernel=name, unbiased=unbiased)
        assert got == pytest.approx(brute(*pair, kernel, unbiased), rel=1e-9), name


def test_linear_and_biased_is_the_squared_distance_of_the_means(pair):
    zs, zt = pair
    expected = ((zs.mean(0) - zt.mean(0)) ** 2).sum()
    assert mmd(zs, zt, kernel="linear", unbiased=False) == pytest.approx(expected)


def test_population_value_for_gaussians():
    # E k(x, y) of N(0, 1) and N(m, 1) in closed form: b / sqrt(b^2 + 2) exp(-m^2 / 2 (b^2 + 2))
    b, m = 1.0, 1.0
    expected = 2 * b / np.sqrt(b**2 + 2) * (1 - np.exp(-(m**2) / (2 * (b**2 + 2))))
    rng = np.random.default_rng(1)
    zs, zt = rng.normal(size=(3000, 1)), rng.normal(size=(3000, 1)) + m
    assert mmd(zs, zt, bandwidth=b) == pytest.approx(expected, abs=0.02)


def test_invariances(pair):
    zs, zt = pair
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0]
    value = mmd(zs, zt)
    assert mmd(zs @ turn + 1e4, zt @ turn + 1e4) == pytest.approx(value, rel=1e-6)
    assert mmd(zs[::-1], zt[::-1]) == pytest.approx(value)
    assert mmd(zt, zs) == pytest.approx(value)
    assert mmd(7 * zs, 7 * zt) == pytest.approx(value)  # the median moves along
    assert mmd(zs, zs, unbiased=False) == pytest.approx(0, abs=1e-12)


def test_median_distance(pair):
    assert median_distance(pair[0]) == pytest.approx(np.median(pdist(pair[0])))
    assert median_distance(np.ones((5, 2))) == 1.0  # no positive distance
    assert mmd(np.ones((5, 2)), np.ones((6, 2))) == pytest.approx(0)


def test_chunks_do_not_change_the_sum(pair, monkeypatch):
    whole = mmd_test(*pair, n_permutations=20)
    monkeypatch.setattr("isthmus.discrepancy.mmd.CHUNK", 7)
    parts = mmd_test(*pair, n_permutations=20)
    assert parts.value == pytest.approx(whole.value)
    assert parts.p_value == whole.p_value


@pytest.mark.parametrize("kernel", ["rbf", "multi"])
def test_random_features_and_blocks_approximate_the_exact_value(kernel):
    rng = np.random.default_rng(3)
    zs, zt = rng.normal(size=(1500, 6)), rng.normal(size=(1200, 6)) + 0.5
    exact = mmd(zs, zt, kernel=kernel)
    assert mmd(zs, zt, kernel=kernel, method="random-features") == pytest.approx(exact, rel=0.1)
    block = mmd_test(zs, zt, kernel=kernel, method="block")
    assert block.interval.low < exact < block.interval.high
    assert block.p_value < 1e-4
    assert mmd_test(zs, zt, max_exact=100, n_permutations=0).info["method"] == "random-features"


@pytest.mark.parametrize("method", ["exact", "random-features", "block"])
def test_p_values_are_uniform_where_nothing_differs(method):
    rng = np.random.default_rng(4)
    found = []
    for seed in range(150):
        zs, zt = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
        gap = mmd_test(zs, zt, method=method, n_permutations=60, random_state=seed)
        found.append(gap.p_value)
    assert kstest(found, "uniform").pvalue > 0.01


def test_power(pair):
    rng = np.random.default_rng(5)
    zs = rng.normal(size=(200, 3))
    assert mmd_test(zs, rng.normal(size=(200, 3)) * 1.6).p_value < 0.01  # equal means
    linear = mmd_test(zs, rng.normal(size=(200, 3)) * 1.6, kernel="linear")
    assert linear.p_value > 0.01  # blind to a change of scale


def test_torch_equals_numpy(pair):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(z) for z in pair]
    for options in ({}, {"kernel": "multi"}, {"kernel": "linear"}, {"method": "random-features"}):
        ours, theirs = mmd_test(*pair, **options), mmd_test(*tensors, **options)
        assert theirs.value == pytest.approx(ours.value)
        assert theirs.p_value == ours.p_value
    single = mmd(*(z.astype(np.float32) for z in pair))
    assert single == pytest.approx(mmd(*pair), rel=1e-5)


def test_reference_kernel_matrix(pair):
    zs, zt = pair
    K = np.exp(-cdist(zs, zt, "sqeuclidean") / 2)
    xx = np.exp(-cdist(zs, zs, "sqeuclidean") / 2)
    yy = np.exp(-cdist(zt, zt, "sqeuclidean") / 2)
    expected = xx.mean() + yy.mean() - 2 * K.mean()
    assert mmd(zs, zt, bandwidth=1, unbiased=False) == pytest.approx(expected)


def test_refusals(pair):
    zs, zt = pair
    with pytest.raises(DataError, match="4 features, target rows 3"):
        mmd(zs, zt[:, :3])
    with pytest.raises(DataError, match="NaN"):
        mmd(np.where(zs > 1, np.nan, zs), zt)
    with pytest.raises(DataError, match="1 source rows"):
        mmd(zs[:1], zt)
    with pytest.raises(UsageError, match="kernel"):
        mmd(zs, zt, kernel="cubic")
    with pytest.raises(UsageError, match="positive"):
        mmd(zs, zt, bandwidth=0)
