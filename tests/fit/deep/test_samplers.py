"""Orders are pure functions of the slot, cover every row, and balance what they promise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
from isthmus.errors import DataError, UsageError
from isthmus.fit.deep.samplers import Balanced, Shuffled, make_order
from isthmus.fit.deep.schedule import make_schedule
from isthmus.fit.deep.seeds import counter_seed


def test_any_slice_is_the_same_whatever_was_asked_before():
    for make in (
        lambda: Shuffled(13, seed=1, tag=2),
        lambda: Balanced(np.array([0] * 9 + [1] * 2 + [5] * 4), seed=1, tag=2),
    ):
        whole = make().rows(0, 100)
        for start, count in ((37, 20), (0, 1), (99, 1), (12, 2)):
            np.testing.assert_array_equal(make().rows(start, count), whole[start : start + count])
        order = make()
        parts = [order.rows(k, 7) for k in (70, 0, 35, 42)]
        np.testing.assert_array_equal(np.concatenate(parts[2:]), whole[35:49])


def test_each_pass_holds_every_row_once_in_an_order_of_its_own():
    found = Shuffled(50, seed=0, tag=1).rows(0, 150).reshape(3, 50)
    assert all(sorted(row) == list(range(50)) for row in found)
    assert len({tuple(row) for row in found}) == 3
    assert not np.array_equal(found[0], Shuffled(50, seed=1, tag=1).rows(0, 50))
    assert not np.array_equal(found[0], Shuffled(50, seed=0, tag=2).rows(0, 50))


def test_rare_classes_come_as_often_as_common_ones():
    y = np.array([0] * 90 + [1] * 9 + [2])
    rows = make_order(100, seed=0, tag=1, labels=y, balance=("class",)).rows(0, 3 * 90)
    counts = np.bincount(y[rows])
    np.testing.assert_array_equal(counts, [90, 90, 90])
    assert sorted(rows[y[rows] == 0]) == list(range(90))  # no row is left out, none comes twice


def test_domains_and_classes_together():
    y, domain = np.arange(60) % 2, np.repeat([3, 7], [50, 10])
    order = make_order(60, seed=0, tag=1, labels=y, domains=domain, balance=("class", "domain"))
    rows = order.rows(0, 40)
    assert {(a, b): int(((y[rows] == a) & (domain[rows] == b)).sum()) for a in (0, 1)
            for b in (3, 7)} == {(0, 3): 10, (0, 7): 10, (1, 3): 10, (1, 7): 10}  # fmt: skip
    with pytest.raises(DataError, match="domain"):
        make_order(60, seed=0, tag=1, balance=("domain",))
    with pytest.raises(DataError, match="no rows"):
        Shuffled(0, seed=0, tag=0)


def test_schedules_have_their_known_values():
    assert make_schedule("dann")(0.5) == pytest.approx(6**-0.75)
    assert make_schedule("cosine")(0.5) == pytest.approx(0.5)
    warm = make_schedule("linear", warmup=0.2)
    assert [warm(p) for p in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    with pytest.raises(UsageError, match="cosine"):
        make_schedule("cosin")


def test_seeds_differ_by_every_part():
    seeds = {counter_seed(a, b) for a in range(50) for b in range(50)}
    assert len(seeds) == 2500 and all(0 <= seed < 2**63 for seed in seeds)
    assert counter_seed(1, 2) != counter_seed(2, 1)
