"""Rank intervals: coverage of the true ranks, and the spread of random halves."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.transferability.resample import build, halves, replicate, replicate_rows


def test_halves_have_the_spread_of_the_mean():
    x = np.random.default_rng(0).normal(size=(400, 1))
    for most in (1000, 50):
        draws = halves(None, None, 400, count=2000, max_rows=most, rng=np.random.default_rng(1))
        values, found = replicate(lambda r: x[slice(None) if r is None else r].mean(0), draws)
        assert values == pytest.approx(x.mean())
        assert found.mean() == pytest.approx(x.mean())
        assert found.std() == pytest.approx(x.std() / 20, rel=0.06)


def test_halves_keep_classes_and_groups():
    rng = np.random.default_rng(2)
    codes = np.repeat([0, 1, 2], [50, 8, 2])
    for rows, _ in halves(codes, None, 60, count=20, max_rows=99, rng=rng):
        assert np.bincount(codes[rows]).tolist() == [25, 4, 2]
        assert len(set(rows)) == len(rows)
    groups = np.repeat(np.arange(10), 6)
    for rows, _ in halves(codes, groups, 60, count=20, max_rows=99, rng=rng):
        assert np.isin(np.bincount(groups[rows], minlength=10), (0, 6)).all()
        assert len(np.unique(codes[rows])) > 1
    with pytest.raises(DataError, match="one class only"):
        next(halves(np.arange(4) // 2, np.arange(4) // 2, 4, count=1, max_rows=9, rng=rng))


def test_rank_intervals_cover_jointly():
    # four candidates, two of them equal: the true rank sets are 1, {2, 3}, 4
    rng = np.random.default_rng(3)
    held = decided = 0
    for _ in range(150):
        right = rng.normal(size=(200, 4)) + np.array([0.6, 0.3, 0.3, 0.0])
        right += rng.normal(size=(200, 1))  # rows that are easy for all
        values, replicates = replicate_rows(right, None, count=200, rng=rng)
        got = build(list("abcd"), values, replicates, measure="m", how="", level=0.95)
        rows = {row.name: row for row in got.rows}
        held += all(
            rows[name].low <= low and rows[name].high >= high
            for name, low, high in (("a", 1, 1), ("b", 2, 3), ("c", 2, 3), ("d", 4, 4))
        )
        decided += rows["a"].high < rows["d"].low
    assert held >= 136  # nominal 143
    assert decided > 130


def test_ties_direction_and_a_sure_order():
    values = np.array([1.0, 3.0, 3.0])
    replicates = np.tile(values, (30, 1))
    got = build(list("abc"), values, replicates, measure="m", how="", level=0.95)
    assert [(r.name, r.rank, r.low, r.high) for r in got.rows] == [
        ("b", 1, 1, 2),
        ("c", 1, 1, 2),
        ("a", 3, 3, 3),
    ]
    assert got.rows[0].best == 0.5 and got.contenders == ["b", "c"]
    turned = build(
        list("abc"), values, replicates, measure="m", how="", level=0.95, higher_is_better=False
    )
    assert turned.names[0] == "a" and turned.contenders == ["a"]


def test_groups_widen_the_interval():
    rng = np.random.default_rng(4)
    right = np.repeat(rng.normal(size=(20, 1)), 10, axis=0)
    groups = np.repeat(np.arange(20), 10)
    alone = replicate_rows(right, None, count=500, rng=rng)[1].std()
    together = replicate_rows(right, groups, count=500, rng=rng)[1].std()
    assert together == pytest.approx(right.std() / np.sqrt(20), rel=0.15)
    assert together > 2 * alone
