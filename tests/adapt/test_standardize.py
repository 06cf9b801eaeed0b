"""Standardize against scikit-learn, and the shifts that it undoes or makes worse."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from isthmus.adapt.standardize import Standardize


def accuracy(adapter, Xs, ys, Xt, yt):
    rows, new = Xs, Xt
    if adapter is not None:
        got = adapter.adapt(Xs, ys, Xt)
        rows, new = got.Xs, got.map_target(Xt)
    return float(np.mean(KNeighborsClassifier(15).fit(rows, ys).predict(new) == yt))


def two_classes(rng, ys, distance=4.0):
    X = rng.normal(size=(len(ys), 5))
    X[:, 0] += distance * (ys - 0.5)
    return X


def test_equals_a_scaler_for_each_domain():
    rng = np.random.default_rng(0)
    Xs, Xt = 3 * rng.normal(size=(50, 4)) + 1, rng.normal(size=(40, 4)) - 7
    got = Standardize().adapt(Xs, None, Xt)
    np.testing.assert_allclose(got.Xs, StandardScaler().fit_transform(Xs), atol=1e-12)
    new = rng.normal(size=(5, 4))
    np.testing.assert_allclose(
        got.map_target(new), StandardScaler().fit(Xt).transform(new), atol=1e-12
    )


def test_scale_and_shift_of_columns_vanish():
    rng = np.random.default_rng(1)
    Xs = rng.normal(size=(50, 4))
    scale, shift = rng.uniform(0.1, 9, size=4), rng.normal(size=4)
    got = Standardize().adapt(Xs, None, Xs * scale + shift)
    np.testing.assert_allclose(got.map_target(Xs * scale + shift), got.Xs, atol=1e-12)


def test_without_scale_only_the_mean_moves():
    Xs, Xt = np.array([[1.0], [3.0]]), np.array([[10.0], [30.0]])
    got = Standardize(scale=False).adapt(Xs, None, Xt)
    assert got.Xs.tolist() == [[-1], [1]] and got.map_target(Xt).tolist() == [[-10], [10]]


def test_a_column_that_is_constant_on_one_side_is_said():
    rng = np.random.default_rng(2)
    Xs, Xt = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    Xt[:, 1] = 0.1
    (trouble,) = Standardize().adapt(Xs, None, Xt).troubles
    assert trouble.code == "constant-column" and "1 in the target" in trouble.reason


def test_helps_when_location_and_scale_differ():
    rng = np.random.default_rng(3)
    ys, yt = np.arange(300) % 2, np.arange(200) % 2
    Xs, Xt = two_classes(rng, ys), 3 * two_classes(rng, yt) + [12, 0, 0, 0, 0]
    assert accuracy(None, Xs, ys, Xt, yt) < 0.7
    assert accuracy(Standardize(), Xs, ys, Xt, yt) > 0.95


def test_fails_under_label_shift():
    rng = np.random.default_rng(4)
    ys, yt = np.arange(300) % 2, (np.arange(300) % 10 > 0).astype(int)
    Xs, Xt = two_classes(rng, ys), two_classes(rng, yt)
    before = accuracy(None, Xs, ys, Xt, yt)
    assert before > 0.95
    assert accuracy(Standardize(), Xs, ys, Xt, yt) < before - 0.1
