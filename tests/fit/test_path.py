"""The draw of rows for choosing C, and the grid."""

import numpy as np
import pytest

from isthmus.errors import UsageError
from isthmus.fit import LogisticHead
from isthmus.fit import path as module
from isthmus.fit.path import GRID, class_folds, draw_rows, path_grid
from isthmus.fit.rows import Rows


def test_all_rows_where_they_fit():
    assert draw_rows(1000, 1280, np.zeros(1000, int), None, 0) is None


def test_draw_is_stratified_and_keeps_rare_classes(monkeypatch):
    monkeypatch.setattr(module, "WORK_BYTES", 4 * 2000)
    codes = np.repeat([0, 1, 2], [9000, 2985, 15])
    rows = draw_rows(12_000, 1, codes, None, 0)
    assert np.bincount(codes[rows]).tolist() == [1500, 498, 5]
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, draw_rows(12_000, 1, codes, None, 0))


def test_draw_takes_whole_groups(monkeypatch):
    monkeypatch.setattr(module, "WORK_BYTES", 4 * 2000)
    groups = np.arange(12_000) // 40
    rows = draw_rows(12_000, 1, np.zeros(12_000, int), groups, 0)
    full = np.bincount(groups[rows])
    assert len(rows) == 2000 and set(full[full > 0]) == {40}


def test_choice_on_a_draw_says_so(monkeypatch):
    monkeypatch.setattr(module, "WORK_BYTES", 4 * 8 * 1000)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 3000)
    X = rng.normal(size=(3000, 8)) + y[:, None] * 0.5
    head = LogisticHead().fit(X, y)
    assert "on a draw of 100" in head.C_how_
    assert 1000 <= head.oof_rows_.sum() <= 1002 and head.oof_logits_.shape == (3000, 2)
    seen = head.oof_rows_
    assert (head.oof_logits_[seen].argmax(axis=1) == y[seen]).mean() > 0.7
    assert (head.predict(X) == y).mean() > 0.7


def test_grid_follows_the_scale():
    X = np.random.default_rng(0).normal(size=(500, 10))
    rows = Rows(X, np.ones(500))
    assert np.allclose(path_grid("cv", rows) * rows.total, GRID)
    assert list(path_grid([3.0, 1.0, 1.0], rows)) == [1.0, 3.0]
    with pytest.raises(UsageError):
        path_grid([[1.0, "x"]], rows)


def test_small_data_repeats_the_deal_and_weightless_rows_have_no_fold():
    codes, weights = np.arange(60) % 3, np.ones(60)
    weights[:6] = 0
    pairs, per_repeat, _ = class_folds(codes, weights, None, cv=5, random_state=0)
    assert len(pairs) == 15 and per_repeat == 5
    assert min(min(a.min(), b.min()) for a, b in pairs) == 6
    with pytest.raises(UsageError):
        class_folds(codes, weights, None, cv=1, random_state=0)
