from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data.columns import clean, to_numbers


def one(values, **kwargs):
    frame, report = clean(pd.DataFrame({"x": pd.Series(values, **kwargs)}))
    return frame["x"], report


def same(series, expected):
    np.testing.assert_array_equal(series.to_numpy(), np.array(expected, dtype=float))
    assert series.dtype == np.float64


@pytest.mark.parametrize("token", ["?", "NA", "", "null", "N/A", "nan", "NULL", "-", "None", " "])
def test_tokens_among_numbers_are_missing(token):
    series, report = one(["1", token, "2.5", "3"])
    same(series, [1, np.nan, 2.5, 3])
    assert report.missing == {"x": {token.strip() or "empty": 1}}


def test_words_keep_words_that_may_be_answers():
    series, report = one(["yes", "none", "-", "NA", None, " no "])
    assert series.tolist() == ["yes", "none", "-", None, None, "no"]
    assert report.missing == {"x": {"NA": 1, "empty": 1}}


def test_a_few_words_among_many_numbers_are_missing_with_a_note():
    series, report = one([str(i) for i in range(40)] + ["oops", "<5"])
    assert series.isna().sum() == 2
    assert report.notes == [
        "column 'x': 2 of 42 values are not numbers ('oops', '<5') and are read as missing"
    ]


def test_many_words_make_words():
    series, report = one(["1", "2", "a", "b", "c"])
    assert series.tolist() == ["1", "2", "a", "b", "c"]
    assert "40 % of the values are numbers" in report.notes[0]


def test_decimal_commas():
    series, report = one(["1,5", "2,25", "-3", "?"])
    same(series, [1.5, 2.25, -3, np.nan])
    assert "decimal comma ('1,5')" in report.notes[0]
    same(one(["1.234,5", "2,25"])[0], [1234.5, 2.25])


def test_thousands_commas():
    series, report = one(["1,234", "12,345,678", "7"])
    same(series, [1234, 12345678, 7])
    assert "thousands" in report.notes[0]


def test_one_and_the_text_one_are_the_same_value():
    series, report = one([1, "1", 2.0, "b", "b", "b"], dtype=object)
    assert series.tolist() == ["1", "1", "2", "b", "b", "b"]
    assert "mixes types: 2 numbers and 4 texts" in report.notes[0]
    same(one([1, "1", 2.5], dtype=object)[0], [1, 1, 2.5])


def test_infinite_values_are_missing():
    series, report = one([1.0, np.inf, -np.inf])
    same(series, [1, np.nan, np.nan])
    assert "2 infinite values" in report.notes[0]
    same(one(["1", "inf", "2"])[0], [1, np.nan, 2])


def test_other_types():
    assert one([True, False])[0].tolist() == ["True", "False"]
    assert one(["a", "b", "a"], dtype="category")[0].tolist() == ["a", "b", "a"]
    same(one([1, None, 3], dtype="Int64")[0], [1, np.nan, 3])
    same(one([3, 1, 2], dtype="category")[0], [3, 1, 2])
    assert one([[1, 2], {"b": 1}], dtype=object)[0].tolist() == ["[1, 2]", '{"b": 1}']
    dates = one(pd.to_datetime(["2020-01-01", None]))[0]
    assert pd.api.types.is_datetime64_any_dtype(dates.dtype)


def test_constant_and_empty_columns_are_noted():
    assert one([5, 5, 5])[1].notes == ["1 column is constant: 'x' (5)"]
    assert one(["a", None, "a"])[1].notes == ["1 column is constant: 'x' ('a' or missing)"]
    assert one([None, None], dtype=object)[1].notes == ["1 column is empty: 'x'"]
    notes = clean(pd.DataFrame(np.ones((2, 200))))[1].notes
    assert len(notes) == 1 and notes[0].startswith("200 columns are constant: '0' (1), '1' (1)")


def test_zeros_of_a_measurement():
    rng = np.random.default_rng(0)
    values = rng.normal(200, 30, 500)
    values[:7] = 0
    assert "7 zeros in a positive column" in one(values)[1].notes[0]
    assert one(rng.poisson(3, 500).astype(float))[1].notes == []  # counts do reach zero
    assert one(np.abs(rng.normal(0, 1, 500)).round(1))[1].notes == []


@pytest.mark.parametrize("code", [-9.0, -999.0, 9999.0])
def test_codes_far_from_all_other_values(code):
    values = np.random.default_rng(0).uniform(1, 100, 200).round(2)
    values[:5] = code
    assert f"5 values are {code:g}" in one(values)[1].notes[0]


def test_no_code_where_the_values_reach_it():
    assert one(np.arange(-20.0, 20.0))[1].notes == []
    assert one(np.arange(0.0, 100.0))[1].notes == []


def test_the_frame_is_not_modified():
    frame = pd.DataFrame({"x": ["1", "?"]})
    copy = frame.copy()
    clean(frame)
    pd.testing.assert_frame_equal(frame, copy)


def test_to_numbers():
    same(to_numbers(pd.Series(["1,5", "x", None, "2"], dtype=object)), [1.5, np.nan, np.nan, 2])


def test_real_heart_table(real_data):
    raw = pd.read_csv(real_data / "heart/heart.csv")
    frame, report = clean(raw.drop(columns=["hospital", "num"]))
    assert all(frame.dtypes == np.float64)
    pd.testing.assert_frame_equal(
        frame, raw.drop(columns=["hospital", "num"]).astype(float), check_dtype=True
    )
    assert any("'chol': 172 zeros" in note for note in report.notes)
