"""Rows for early stopping: disjoint, of every class, of the target where it has enough."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import DataError  # noqa: E402
from isthmus.fit.deep.held_out import hold_out  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402


def rows(n, start=0):
    return Rows(np.arange(start, start + n, dtype=np.float32)[:, None], np.arange(n) % 3)


def numbers(part):
    return part.inputs[:, 0].tolist()


def test_of_the_target_where_it_has_enough_else_of_the_source():
    source, known = rows(60), rows(30, 100)
    left, rest, held = hold_out(source, known, seed=0)
    assert left is source and min(numbers(held)) >= 100 and len(held) == 6
    assert sorted(numbers(rest) + numbers(held)) == numbers(known)
    assert set(held.labels) == {0, 1, 2}
    left, rest, held = hold_out(source, rows(6, 100), seed=0)
    assert max(numbers(held)) < 60 and len(rest) == 6
    assert sorted(numbers(left) + numbers(held)) == numbers(source)
    assert numbers(hold_out(source, known, seed=0)[2]) == numbers(
        hold_out(source, known, seed=0)[2]
    )


def test_without_a_source_the_target_gives_them():
    left, rest, held = hold_out(None, rows(9, 100), seed=1)
    assert left is None and len(rest) + len(held) == 9


def test_a_class_of_one_row_does_not_stop_it():
    lonely = Rows(np.zeros((12, 1), np.float32), np.r_[np.zeros(11, int), 1])
    for seed in range(12):
        left, _, held = hold_out(lonely, None, seed=seed)
        assert len(left) + len(held) == 12 and len(held) >= 1
        assert 1 in left.labels and 1 not in held.labels  # or nothing would teach it
    with pytest.raises(DataError, match="each class has one labelled row"):
        hold_out(rows(3), None, seed=0)
