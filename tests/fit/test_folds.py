"""Folds: no group on both sides, every row tested once, classes spread as the rules say."""

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.fit.folds import folds


def coverage(pairs, n, n_splits):
    for start in range(0, len(pairs), n_splits):
        part = pairs[start : start + n_splits]
        assert sorted(np.concatenate([test for _, test in part])) == list(range(n))
        for train, test in part:
            assert len(test) and not set(train) & set(test)
            assert len(train) + len(test) == n


@pytest.mark.parametrize("n_repeats", [1, 3])
def test_classification_is_stratified_to_within_one_row(n_repeats):
    y = np.array(["a"] * 50 + ["b"] * 13 + ["10"] * 7, dtype=object)
    pairs = folds(y, task="classification", n_repeats=n_repeats, random_state=3)
    coverage(pairs, 70, 5)
    for _, test in pairs:
        for name, total in (("a", 50), ("b", 13), ("10", 7)):
            assert abs(np.sum(y[test] == name) - total / 5) < 1


def test_small_classes_meet_different_folds_and_stay_in_training():
    y = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 2, 2, 30])
    for seed in range(20):
        pairs = folds(y, task="classification", random_state=seed)
        coverage(pairs, len(y), 5)
        for train, _ in pairs:
            assert set(range(1, 8)) <= set(y[train])


def test_groups_never_cross_and_classes_stay_balanced():
    rng = np.random.default_rng(0)
    groups = np.repeat([f"s{i}" for i in range(40)], rng.integers(1, 12, 40))
    y = rng.integers(0, 3, len(groups))
    pairs = folds(y, task="classification", groups=groups)
    coverage(pairs, len(y), 5)
    for train, test in pairs:
        assert not set(groups[train]) & set(groups[test])
        share = np.bincount(y[test], minlength=3) / np.bincount(y)
        assert (np.abs(share - 0.2) < 0.1).all()


def test_fewer_groups_than_splits_gives_leave_one_group_out():
    groups = np.array([1, 1, 2, 2, 3, 3, 3])
    pairs = folds([0, 1, 0, 1, 0, 1, 1], task="classification", groups=groups, n_splits=5)
    assert len(pairs) == 3
    assert sorted({*groups[test]}.pop() for _, test in pairs) == [1, 2, 3]


def test_regression_folds_have_like_means_and_change_with_the_repeat():
    y = np.arange(103.0)
    pairs = folds(y, task="regression", n_repeats=2)
    coverage(pairs, 103, 5)
    assert all(abs(y[test].mean() - 51) < 4 for _, test in pairs)
    assert not np.array_equal(pairs[0][1], pairs[5][1])


def test_multilabel_spreads_the_rare_column():
    rng = np.random.default_rng(0)
    y = np.column_stack([rng.random(400) < p for p in (0.5, 0.3, 0.03)])
    y[:, 2] = False
    y[rng.choice(400, 5, replace=False), 2] = True
    pairs = folds(y, task="multilabel")
    coverage(pairs, 400, 5)
    assert [int(y[test, 2].sum()) for _, test in pairs] == [1] * 5
    assert all(abs(y[test, 0].mean() - y[:, 0].mean()) < 0.03 for _, test in pairs)
    assert all(abs(len(test) - 80) <= 3 for _, test in pairs)


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_groups_hold_for_other_tasks(task):
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 12, 90)
    y = rng.normal(size=90) if task == "regression" else rng.random((90, 3)) < 0.4
    pairs = folds(y, task=task, groups=groups, n_repeats=2)
    coverage(pairs, 90, 5)
    assert all(not set(groups[a]) & set(groups[b]) for a, b in pairs)


def test_same_seed_same_folds_other_seed_other_folds():
    y = np.arange(60) % 4
    first, again, other = (folds(y, task="classification", random_state=s) for s in (1, 1, 2))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(first, other, strict=True))


def test_refusals():
    with pytest.raises(DataError, match="one group"):
        folds([0, 1, 0], task="classification", groups=["a"] * 3)
    with pytest.raises(DataError, match="1 rows"):
        folds([0], task="classification")
    with pytest.raises(DataError, match="without a label"):
        folds(np.array(["a", None], dtype=object), task="classification")
    with pytest.raises(DataError, match="missing"):
        folds([0.0, np.nan], task="regression")
    with pytest.raises(DataError, match="shape"):
        folds([0, 1, 0], task="classification", groups=[1, 2])
    with pytest.raises(UsageError):
        folds([0, 1], task="classification", n_splits=1)
    with pytest.raises(UsageError):
        folds([0, 1], task="ranking")
