"""What estimators with labelled target rows share: sides, codes, folds, quiet fits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.sides import codes_of, deal, quiet_fit, sides, softmax, two_classes
from isthmus.errors import DataError


def test_sides_keep_rows_labels_and_source_ids_in_order():
    X = np.arange(12.0).reshape(6, 2)
    y = np.array(["a", "?", "b", "b", "?", "a"], dtype=object)
    domain = np.array([3, -1, 0, -2, -1, 3])
    labeled = np.array([False, False, False, True, False, False])
    got = sides(X, y, domain, labeled, who="it")
    np.testing.assert_array_equal(got.Xs, X[[0, 2, 5]])
    assert list(got.ys) == ["a", "b", "a"] and list(got.sources) == [3, 0, 3]
    np.testing.assert_array_equal(got.Xl, X[[3]])
    assert list(got.yt) == ["b"]


def test_missing_values_and_labels_are_refused_where_they_count():
    X, domain = np.arange(8.0).reshape(4, 2), np.array([0, 0, -1, -1])
    labeled = np.array([False, False, True, False])
    fine = sides(X, np.array([1.0, 2, 1, np.nan]), domain, labeled, who="it")
    assert list(fine.yt) == [1.0]  # the placeholder of the last row is not looked at
    for y in (np.array([1.0, np.nan, 1, 1]), np.array([1.0, 1, np.nan, 1])):
        with pytest.raises(DataError, match="NaN"):
            sides(X, y, domain, labeled, who="it")
    with pytest.raises(DataError, match="missing"):
        sides(X, np.array(["a", None, "a", "a"], dtype=object), domain, labeled, who="it")
    with pytest.raises(DataError, match="labelled"):
        sides(X, np.ones(4), domain, None, who="it")
    broken = X.copy()
    broken[3, 0] = np.inf
    for given in (domain, np.full(4, -1)):  # with source rows and without
        with pytest.raises(DataError, match="NaN or infinity"):
            sides(broken, np.ones(4), given, None, who="it", source_needed=False)


def test_codes_and_classes():
    classes, codes = two_classes(np.array([5, -1, 5]), "it")
    assert list(classes) == [-1, 5] and list(codes) == [1, 0, 1]
    assert list(codes_of(np.array([-1, 5]), classes, "it")) == [0, 1]
    with pytest.raises(DataError, match="no class of the source"):
        codes_of(np.array([7]), classes, "it")
    with pytest.raises(DataError, match="one class"):
        two_classes(np.array(["a", "a"]), "it")


def test_folds_are_even_in_every_class_and_follow_the_rows():
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(53, 3)), rng.integers(0, 3, 53)
    fold = deal(X, codes, 5, 0)
    for code in range(3):
        size = np.bincount(fold[codes == code], minlength=5)
        assert size.max() - size.min() <= 1
    assert np.ptp(np.bincount(fold, minlength=5)) <= 3
    p = rng.permutation(53)
    np.testing.assert_array_equal(deal(X[p], codes[p], 5, 0), fold[p])


def test_a_fit_that_stops_early_is_told_and_other_warnings_pass():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 5)) * 100, np.arange(50) % 2
    assert not quiet_fit(LogisticRegression(max_iter=1), X, y)
    assert quiet_fit(LogisticRegression(max_iter=10_000), X / 100, y)

    class Loud:
        def fit(self, X):
            warnings.warn("mind the gap", RuntimeWarning, stacklevel=1)

    with pytest.warns(RuntimeWarning, match="gap"):
        quiet_fit(Loud(), X)


def test_softmax_of_large_scores_is_finite():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, 0.0]])), [[0.5, 0.5, 0.0]])
