"""PCA against scikit-learn, and what it cannot do about a gap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt import principal
from isthmus.adapt.pca import PCA
from isthmus.errors import UsageError


@pytest.mark.parametrize("shape", [(60, 40, 8), (30, 20, 90), (700, 500, 350)])
def test_equals_scikit_learn_up_to_signs(shape):
    rng = np.random.default_rng(0)
    n, m, d = shape
    mix = rng.normal(size=(d, d)) * 0.95 ** np.arange(d)
    Xs, Xt = rng.normal(size=(n, d)) @ mix + 3, rng.normal(size=(m, d)) @ mix
    got = PCA(5).adapt(Xs, None, Xt)
    want = SklearnPCA(5, svd_solver="full").fit(np.r_[Xs, Xt])
    np.testing.assert_allclose(np.abs(got.Xs), np.abs(want.transform(Xs)), atol=1e-6)
    np.testing.assert_allclose(np.abs(got.map_target(Xt)), np.abs(want.transform(Xt)), atol=1e-6)
    assert got.info["variance"] == pytest.approx(want.explained_variance_.sum())


def test_directions_applied_block_by_block_are_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(900, 320)) * 0.97 ** np.arange(320)
    _, want, variance = principal.directions(np, X, 4)
    monkeypatch.setattr(principal, "FORMED", 100)
    monkeypatch.setattr(principal, "BLOCK", 256)
    _, got, again = principal.directions(np, X, 4)
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(again, variance, rtol=1e-9)


def test_no_more_components_than_the_rank():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 10))
    got = PCA().adapt(rows[:30], None, rows[30:])
    assert got.Xs.shape[1] == got.info["components"] == 3


def test_rows_of_unit_length():
    rng = np.random.default_rng(3)
    got = PCA(3, normalize=True).adapt(rng.normal(size=(20, 6)), None, rng.normal(size=(9, 6)))
    np.testing.assert_allclose(np.linalg.norm(got.Xs, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(got.map_target(np.ones((2, 6))), axis=1), 1)


def test_helps_against_useless_features_but_leaves_the_gap_where_it_is():
    rng = np.random.default_rng(4)
    ys = np.arange(200) % 2
    Xs, Xt = rng.normal(size=(200, 300)), rng.normal(size=(200, 300))
    for X in (Xs, Xt):
        X[:, 0] += 5 * (ys - 0.5)

    def score(adapter, Xt):
        got = adapter.adapt(Xs, ys, Xt)
        model = KNeighborsClassifier(1).fit(got.Xs, ys)
        return float(np.mean(model.predict(got.map_target(Xt)) == ys))

    full, few = PCA(300), PCA(1)
    assert score(full, Xt) < 0.9 < 0.95 < score(few, Xt)
    moved = Xt + 5 * (np.arange(300) == 0)
    assert score(few, moved) < 0.6


def test_components_are_counted_from_one():
    with pytest.raises(UsageError, match="n_components"):
        PCA(0).adapt(np.ones((3, 2)), None, np.ones((3, 2)))
