"""Shared parts of the circular validators: the draw that matches class shares."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.select.validate.circles import matched


def test_shares_are_matched_and_rows_of_a_class_are_taken_alike():
    rng = np.random.default_rng(0)
    codes = np.array([0] * 70 + [1] * 20 + [2] * 10)
    rows = matched(codes, np.array([0.2, 0.3, 0.5]), rng.permutation(100))
    assert np.bincount(codes[rows]).tolist() == [20, 30, 50]
    times = np.bincount(rows, minlength=100)
    for code in range(3):
        assert np.ptp(times[codes == code]) <= 1
    assert (np.diff(rows) >= 0).all()


def test_matching_shares_keep_every_row_once():
    codes = np.arange(30) % 3
    rows = matched(codes, np.full(3, 1 / 3), np.arange(30)[::-1])
    np.testing.assert_array_equal(rows, np.arange(30))


def test_an_absent_class_leaves_its_share_to_the_others():
    codes = np.array([0] * 9 + [2])
    rows = matched(codes, np.array([0.25, 0.5, 0.25]), np.arange(10))
    assert np.bincount(codes[rows], minlength=3).tolist() == [5, 0, 5]
    with pytest.raises(DataError, match="no class of the rows"):
        matched(codes, np.array([0.0, 1.0, 0.0]), np.arange(10))
