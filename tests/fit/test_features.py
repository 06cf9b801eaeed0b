"""Feature processing against scikit-learn's scaler and PCA, and its care with memory."""

import json
import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from isthmus.errors import BundleError, DataError, UsageError
from isthmus.fit import FeatureProcessor
from isthmus.fit import features as module
from isthmus.fit.features import LazyRows, processor_for


def rows(n=200, d=12, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 4).astype(dtype)


def test_standardising_is_that_of_scikit_learn():
    X = rows()
    X[:, 3] = 7.1
    got = FeatureProcessor().fit(X)
    assert np.allclose(got.transform(X), StandardScaler().fit_transform(X), atol=1e-10)
    assert got.constant_ == 1 and (got.transform(X)[:, 3] == 0).all()


def test_a_constant_float32_column_with_a_large_mean_is_seen_as_constant():
    X = rows(dtype=np.float32)
    X[:, 0] = 123456.789
    assert FeatureProcessor().fit(X).constant_ == 1


@pytest.mark.parametrize("shape", [(200, 12), (12, 200)])
def test_pca_is_that_of_scikit_learn(shape):
    X = rows(*shape)
    got = FeatureProcessor(standardize=False, pca=5).fit(X)
    peer = PCA(5).fit(X)
    n = len(X)
    assert np.allclose(got.explained_variance_, peer.explained_variance_ * (n - 1) / n)
    assert np.allclose(np.abs(got.transform(X)), np.abs(peer.transform(X)), atol=1e-8)
    top = np.abs(got.components_).argmax(axis=1)
    assert (got.components_[np.arange(5), top] > 0).all()


def test_share_of_variance_and_whitening():
    X = rows(400, 20)
    got = FeatureProcessor(standardize=False, pca=0.9, whiten=True).fit(X)
    share = np.cumsum(PCA().fit(X).explained_variance_ratio_)
    assert len(got.components_) == int(np.searchsorted(share, 0.9)) + 1
    Z = got.transform(X)
    assert np.allclose(np.cov(Z.T, bias=True), np.eye(Z.shape[1]), atol=1e-8)


def test_whitening_alone_drops_directions_without_variance():
    X = rows(100, 6)
    X = np.column_stack([X, X[:, 0] + X[:, 1]])
    assert FeatureProcessor(whiten=True).fit(X).n_features_out_ == 6


def test_l2_rows_have_length_one_and_zero_rows_stay():
    X = rows()
    X[0] = 0
    Z = FeatureProcessor(standardize=False, l2=True).fit(X).transform(X)
    assert np.allclose(np.linalg.norm(Z[1:], axis=1), 1) and (Z[0] == 0).all()
    assert np.allclose(Z[1:], X[1:] / np.linalg.norm(X[1:], axis=1, keepdims=True))


def test_randomised_pca_finds_the_leading_components(monkeypatch):
    monkeypatch.setattr(module, "EXACT_UP_TO", 30)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 80)) * np.arange(1, 81) ** -1.0
    got = FeatureProcessor(standardize=False, pca=6).fit(X)
    peer = PCA(6).fit(X)
    assert np.allclose(got.explained_variance_, peer.explained_variance_ * 299 / 300, rtol=1e-3)
    overlap = np.abs(np.sum(got.components_ * peer.components_, axis=1))
    assert (overlap > 0.99).all()
    again = FeatureProcessor(standardize=False, pca=6).fit(X)
    assert again.components_.tobytes() == got.components_.tobytes()
    with pytest.raises(UsageError, match="pca=256"):
        FeatureProcessor(pca=0.9).fit(X)


def test_weights_are_repeated_rows():
    X, w = rows(80, 5), np.random.default_rng(0).integers(0, 4, 80)
    a = FeatureProcessor(pca=3, whiten=True).fit(X, sample_weight=w)
    b = FeatureProcessor(pca=3, whiten=True).fit(np.repeat(X, w, axis=0))
    assert np.allclose(a.transform(X), b.transform(X), atol=1e-8)


def test_memory_map_is_read_in_blocks(tmp_path):
    n, d = 40_000, 512  # 82 MB as float32, 164 MB as float64
    X = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (n, d))
    X[:] = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    tracemalloc.start()
    processor = FeatureProcessor(pca=16).fit(X)
    Z = processor.transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Z.dtype == np.float32 and Z.shape == (n, 16)
    assert peak < 150e6, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_floats_give_float32(dtype):
    assert (
        FeatureProcessor().fit(rows(dtype=dtype)).transform(rows(dtype=dtype)).dtype == np.float32
    )


def test_lazy_rows_are_the_transformed_rows():
    X = rows(dtype=np.float32)
    processor = FeatureProcessor(pca=4, l2=True).fit(X)
    Z, lazy = processor.transform(X), LazyRows(X, processor)
    assert len(lazy) == 200 and lazy.shape == (200, 4)
    assert np.array_equal(lazy[10:50], Z[10:50])
    assert np.array_equal(lazy[np.array([3, 1])], Z[[3, 1]])
    assert np.array_equal(lazy[0], Z[0]) and np.array_equal(lazy[::7, :2], Z[::7, :2])


def test_state_gives_the_same_bits_and_refuses_damage():
    X = rows()
    for processor in (
        FeatureProcessor().fit(X),
        FeatureProcessor(pca=0.8, whiten=True, l2=True).fit(X),
    ):
        tensors, meta = processor.to_state()
        again = FeatureProcessor.from_state(tensors, json.loads(json.dumps(meta)))
        assert again.transform(X).tobytes() == processor.transform(X).tobytes()
    with pytest.raises(BundleError):
        FeatureProcessor.from_state({k: v for k, v in tensors.items() if k != "scale_"}, meta)


def test_refusals():
    X = rows()
    for bad in (0, -3, True, 1.5):
        with pytest.raises(UsageError):
            FeatureProcessor(pca=bad).fit(X)
    with pytest.raises(DataError, match="equal"):
        FeatureProcessor(pca=2).fit(np.ones((5, 3)))
    with pytest.raises(DataError, match="NaN"):
        FeatureProcessor().fit(np.array([[1.0, np.nan], [2.0, 3.0]]))
    with pytest.raises(DataError, match="features"):
        FeatureProcessor().fit(X).transform(X[:, :4])


def test_a_column_that_hardly_varied_cannot_run_away():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2)) * [1.0, 1e-3]
    new = np.array([[0.5, 40.0], [0.5, -40.0]])
    clipped = FeatureProcessor(clip=5).fit(X)
    np.testing.assert_array_equal(clipped.transform(new)[:, 1], [5.0, -5.0])
    plain = FeatureProcessor().fit(X)
    np.testing.assert_array_equal(clipped.transform(new)[:, 0], plain.transform(new)[:, 0])
    np.testing.assert_array_equal(clipped.transform(X), plain.transform(X))
    tensors, meta = clipped.to_state()
    again = FeatureProcessor.from_state(tensors, meta)
    np.testing.assert_array_equal(again.transform(new), clipped.transform(new))


@pytest.mark.parametrize("wrong", [{"clip": 0}, {"clip": -1}, {"clip": 5, "standardize": False}])
def test_a_clip_without_a_scale_is_refused(wrong):
    with pytest.raises(UsageError, match="deviations"):
        FeatureProcessor(**wrong).fit(np.eye(3))


def test_columns_are_clipped_and_features_of_networks_are_not():
    assert processor_for("table").clip == processor_for("features").clip == 5
    assert processor_for("image").clip is None and processor_for("image").l2
