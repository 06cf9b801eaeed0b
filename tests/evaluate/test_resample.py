from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.evaluate import resample
from isthmus.evaluate.resample import Units, bootstrap_weights, replicate


def test_rows_are_drawn_with_replacement():
    (w,) = bootstrap_weights(Units.of(50), n_boot=2000, random_state=1)
    assert w.shape == (50, 2000)
    assert (w.sum(axis=0) == 50).all()
    assert w.mean() == pytest.approx(1)
    assert w.var() == pytest.approx(1 - 1 / 50, rel=0.03)  # multinomial variance
    assert (w == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, rel=0.03)


def test_groups_are_drawn_whole():
    groups = np.array(["x", "y", "x", "z", "z", "z"])
    units = Units.of(6, groups)
    (w,) = bootstrap_weights(units, n_boot=200, random_state=1)
    assert units.count == 3 and units.words == "3 groups"
    for rows in ([0, 2], [3, 4, 5]):
        assert (w[rows] == w[rows[0]]).all()
    assert (w[0] + w[1] + w[3] == 3).all()


def test_rows_without_a_group_are_alone():
    units = Units.of(5, np.array(["a", "a", None, None, np.nan], dtype=object))
    assert units.count == 4
    assert units.codes.tolist() == [0, 0, 1, 2, 3]


def test_all_groups_of_one_row_are_plain_rows():
    assert Units.of(4, np.arange(4)).words == "4 rows"


def test_chunks_do_not_change_the_draw(monkeypatch):
    whole = np.concatenate(list(bootstrap_weights(Units.of(30), n_boot=25)), axis=1)
    monkeypatch.setattr(resample, "CHUNK", 30 * 7)
    parts = list(bootstrap_weights(Units.of(30), n_boot=25))
    assert [p.shape[1] for p in parts] == [7, 7, 7, 4]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_seed_decides():
    def draw(seed):
        return replicate(lambda w: {"x": w[0]}, Units.of(9), n_boot=20, random_state=seed)["x"]

    np.testing.assert_array_equal(draw(4), draw(4))
    assert (draw(4) != draw(5)).any()


def test_lengths_must_agree():
    with pytest.raises(DataError, match="3 groups for 4 rows"):
        Units.of(4, np.array(["a", "b", "c"]))
