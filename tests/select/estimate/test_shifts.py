"""Shifts made from the source: disjoint, groups whole, and a shift where one is promised."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.select.estimate.shifts import KINDS, pseudo_shifts


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[rng.integers(0, 3, 600)]
    scale = np.array([4.0, 1, 1, 1, 1])
    X = rng.normal(size=(600, 5)) * scale + 3 * (y == "b")[:, None]
    return X.astype(np.float32), y


def test_sides_are_disjoint_rows_of_the_source(rows):
    X, y = rows
    made = pseudo_shifts(X, y, n=10)
    assert [s.kind for s in made] == [*KINDS, *KINDS]
    for s in made:
        assert not set(s.rows_s) & set(s.rows_t)
        assert np.array_equal(s.Xs, X[s.rows_s]) and np.array_equal(s.ys, y[s.rows_s])
        assert np.array_equal(s.yt, y[s.rows_t]) and s.Xt.dtype == X.dtype
        assert (s.kind == "affine") != np.array_equal(s.Xt, X[s.rows_t])
        assert set(s.yt) <= set(s.ys) and len(set(s.yt)) >= 2
        assert 0.25 <= s.strength <= 1


def test_repeatable_and_input_untouched(rows):
    X, y = rows
    before = X.copy()
    a, b, c = (pseudo_shifts(X, y, n=5, random_state=seed) for seed in (3, 3, 4))
    assert np.array_equal(X, before)
    for s, t in zip(a, b, strict=True):
        assert np.array_equal(s.Xt, t.Xt) and np.array_equal(s.rows_s, t.rows_s)
    assert any(not np.array_equal(s.rows_s, t.rows_s) for s, t in zip(a, c, strict=True))


def test_each_kind_shifts_what_it_says(rows):
    X, y = rows

    def gaps(kind):
        found = []
        for s in pseudo_shifts(X, y, n=8, kinds=[kind]):
            within = [
                abs(s.Xs[s.ys == c, 0].mean() - s.Xt[s.yt == c, 0].mean()) / X[y == c, 0].std()
                for c in np.unique(s.yt)
            ]
            shares = [[(v == c).mean() for c in "abc"] for v in (s.ys, s.yt)]
            found.append((np.mean(within), 0.5 * np.abs(np.subtract(*shares)).sum()))
        return np.max(found, axis=0)

    still = gaps("split")
    assert still[0] < 0.35 and still[1] < 0.02
    assert gaps("component")[0] > 0.8  # moved within the classes, shares alike
    assert gaps("component")[1] < 0.02
    assert gaps("prior")[1] > 0.15  # shares moved, classes as they are
    assert gaps("prior")[0] < 0.45
    assert gaps("cluster")[0] > 0.6
    assert gaps("affine")[0] > 0.35


def test_groups_stay_whole(rows):
    X, y = rows
    groups = np.arange(600) // 12
    for s in pseudo_shifts(X, y, groups, n=10):
        assert not set(groups[s.rows_s]) & set(groups[s.rows_t])
    own = np.array([f"{c}{i % 7}" for i, c in enumerate(y)])  # groups of one class
    for s in pseudo_shifts(X, y, own, n=10):
        assert not set(own[s.rows_s]) & set(own[s.rows_t])


def test_a_class_of_one_row_stays_in_the_source(rows):
    X, y = rows[0], rows[1].copy()
    y[5] = "z"
    for s in pseudo_shifts(X, y, n=5):
        assert "z" in s.ys and "z" not in s.yt


def test_constant_features_and_narrow_data():
    y = np.arange(40) % 2
    for X in (np.zeros((40, 3)), np.arange(40.0)[:, None]):
        for s in pseudo_shifts(X, y, n=5):
            assert np.isfinite(s.Xt).all()


def test_refusals(rows):
    X, y = rows
    with pytest.raises(DataError, match="19 rows"):
        pseudo_shifts(X[:19], y[:19])
    with pytest.raises(DataError, match="1 classes"):
        pseudo_shifts(X, np.zeros(600))
    with pytest.raises(DataError, match="one group"):
        pseudo_shifts(X, y, np.zeros(600))
    with pytest.raises(UsageError, match="no kind"):
        pseudo_shifts(X, y, kinds=["weather"])
