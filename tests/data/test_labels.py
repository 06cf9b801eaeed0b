from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data.labels import (
    distinct_of,
    name_notes,
    name_of,
    natural_sorted,
    to_indicator,
    to_names,
)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        ("1.0", "1"),
        (np.float32(1), "1"),
        (np.int8(-3), "-3"),
        ("-0.0", "0"),
        ("+2.00", "2"),
        ("01", "01"),
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (True, "True"),
        (np.bool_(False), "False"),
        (b"caf\xc3\xa9", "café"),
        ("cafe\u0301", "café"),
        ("  cat\t", "cat"),
        ("None", "None"),
        ("1.50", "1.50"),
        (None, None),
        (float("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        ("", None),
        ("   ", None),
    ],
)
def test_name_of(value, name):
    assert name_of(value) == name


def test_mixed_spellings_of_a_number_are_one_class():
    names, classes = to_names([1, 1.0, "1", "1.0", 2, None, "2"])
    assert names.tolist() == ["1", "1", "1", "1", "2", None, "2"]
    assert classes == ("1", "2")


def test_truth_values_do_not_merge_with_one_and_zero():
    names, classes = to_names([True, 1, False, 0])
    assert names.tolist() == ["True", "1", "False", "0"]
    assert classes == ("0", "1", "False", "True")


@pytest.mark.parametrize(
    "values",
    [
        np.array([10, 9, 1], dtype=np.uint8),
        np.array([10.0, 9.0, 1.0]),
        np.array(["10", "9", "1"]),
        pd.Series(["10", "9", "1"]),
        pd.Series([10, 9, 1], dtype="Int64"),
        pd.Series(["10", "9", "1"], dtype="category"),
        [10, "9", 1.0],
    ],
)
def test_every_container_gives_the_same_names_in_numeric_order(values):
    names, classes = to_names(values)
    assert names.tolist() == ["10", "9", "1"]
    assert classes == ("1", "9", "10")


def test_missing_values_of_every_container():
    assert to_names(pd.Series(["a", None]))[0].tolist() == ["a", None]
    assert to_names(pd.Series([1, None], dtype="Int64"))[0].tolist() == ["1", None]
    assert to_names(np.array([1.0, np.nan]))[0].tolist() == ["1", None]


def test_natural_order():
    assert natural_sorted(["10", "2", "-1", "1.5"]) == ["-1", "1.5", "2", "10"]
    assert natural_sorted(["b", "10", "a", "9"]) == ["9", "10", "a", "b"]
    assert natural_sorted(["nan", "inf", "1e3", "5"]) == ["5", "1e3", "inf", "nan"]


def test_notes_name_what_was_merged_and_what_was_not():
    notes = name_notes([1, "1", "Cat", "cat ", "cat", "dog", "01"])
    assert len(notes) == 4
    assert "'1' is written in several ways" in notes[0] and "number 1 (1 rows)" in notes[0]
    (note,) = name_notes(np.array([np.int64(1), "1"], dtype=object))
    assert "number 1 (1 rows), text '1' (1 rows)" in note  # not np.int64(1)
    assert "'cat ' (1 rows)" in notes[1] and "read as one" in notes[1]
    assert "'01' (1 rows) and '1' (2 rows)" in notes[2] or "'1' (2 rows)" in notes[2]
    assert "'Cat' (1 rows) and 'cat' (2 rows)" in notes[3] and "kept apart" in notes[3]


def test_no_notes_on_clean_names():
    assert name_notes(["a", "b", "10", "100"]) == []
    assert name_notes([0.0, 1.0, np.nan]) == []


def test_indicator():
    matrix, classes = to_indicator([["b", "a"], [], None, [10, "9"]])
    assert classes == ("9", "10", "a", "b")
    assert matrix.astype(int).tolist() == [[0, 0, 1, 1], [0] * 4, [0] * 4, [1, 1, 0, 0]]
    assert matrix.dtype == bool


def test_distinct_counts_by_type():
    column = distinct_of([1, "1", True, 1.0, None, 1])
    assert column.codes.tolist() == [0, 1, 2, 3, -1, 0]
    assert column.counts() == [2, 1, 1, 1]
    assert column.mapped(list("abcd"), missing="x").tolist() == list("abcdxa")
