from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from isthmus.errors import DataError, UsageError
from isthmus.evaluate.shots import draw_shots

LABELS = np.array(["cat"] * 20 + ["dog"] * 20 + ["emu"] * 3 + [None] * 7, dtype=object)


def test_k_rows_a_class_and_short_ones_are_reported():
    shots = draw_shots(LABELS, 5)
    assert Counter(LABELS[shots.rows]) == {"cat": 5, "dog": 5, "emu": 3}
    assert shots.short == {"emu": 3}
    assert "'emu' (3)" in shots.notes[0]
    assert sorted([*shots.rows, *shots.rest]) == list(range(43))  # unlabelled rows in neither
    assert (np.diff(shots.rows) > 0).all()


def test_draws_are_nested_random_and_seeded():
    one, five = draw_shots(LABELS, 1, random_state=3), draw_shots(LABELS, 5, random_state=3)
    assert set(one.rows) < set(five.rows)
    assert (draw_shots(LABELS, 5, random_state=3).rows == five.rows).all()
    firsts = {int(draw_shots(LABELS, 1, random_state=s).rows[0]) for s in range(60)}
    assert len(firsts) > 15  # any of the 20 cats


def test_other_classes_do_not_matter():
    cats = draw_shots(LABELS[:20], 4, random_state=1).rows
    assert set(cats) == {r for r in draw_shots(LABELS, 4, random_state=1).rows if r < 20}


def test_every_row_is_equally_likely():
    count = np.zeros(20)
    for seed in range(600):
        count[draw_shots(LABELS[:20], 5, random_state=seed).rows] += 1
    assert np.abs(count / 600 - 0.25).max() < 0.08


def test_crossing_groups_are_flagged():
    groups = np.array(["a", "a", "b", "b", "c", None, None], dtype=object)
    labels = ["x", "y", "x", "y", "x", "y", "x"]
    shots = draw_shots(labels, 1, groups=groups, random_state=0)
    drawn = set(groups[shots.rows]) - {None}
    expected = [r for r in range(7) if groups[r] in drawn and r not in shots.rows]
    assert shots.crossing.tolist() == expected
    assert not set(shots.crossing) & set(shots.rows)


def test_crossing_by_hand():
    shots = draw_shots(["x", None, "x"], 2, groups=["p", "p", "q"])
    assert shots.rows.tolist() == [0, 2] and shots.crossing.tolist() == [1]
    assert "1 rows" in shots.notes[0]


def test_class_without_rows():
    shots = draw_shots(["x", "x"], 1, classes=("x", "y"))
    assert shots.short == {"y": 0} and len(shots) == 1


def test_stands_for_its_rows():
    shots = draw_shots(LABELS, 2)
    assert np.asarray(shots).tolist() == shots.rows.tolist()
    assert LABELS[np.asarray(shots)].shape == (6,)


def test_regression_spans_the_range():
    y = load_diabetes().target
    y[:10] = np.nan
    shots = draw_shots(y, 20, task="regression")
    assert len(shots) == 20 and not np.isnan(y[shots.rows]).any()
    ranks = np.searchsorted(np.sort(y[10:]), y[shots.rows]) / 432
    assert np.bincount((ranks * 5).astype(int).clip(0, 4), minlength=5).min() >= 3
    few = draw_shots(y[:13], 20, task="regression")
    assert few.short == {"all": 3} and len(few) == 3


def test_multilabel_until_each_label_has_k():
    rng = np.random.default_rng(0)
    y = rng.random((200, 4)) < [0.5, 0.3, 0.1, 0.005]
    shots = draw_shots(y, 5, task="multilabel", classes=("a", "b", "c", "d"))
    support, drawn = y.sum(axis=0), y[shots.rows].sum(axis=0)
    assert (drawn >= np.minimum(support, 5)).all()
    assert shots.short == {"d": int(support[3])}
    assert len(shots) <= 20


def test_refusals():
    with pytest.raises(UsageError, match="0 shots"):
        draw_shots(LABELS, 0)
    with pytest.raises(DataError, match="no labelled row"):
        draw_shots([None, None], 1)
    with pytest.raises(DataError, match="groups"):
        draw_shots(["a", "b"], 1, groups=["g"])
    with pytest.raises(UsageError, match="unknown task"):
        draw_shots(["a"], 1, task="clustering")
