from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from isthmus.data import read
from isthmus.errors import DataError, UsageError

ROWS = {"text": ["one two three", "four five six", "seven eight"], "label": ["a", "b", "a"]}


def texts(samples):
    return [samples.items[i] for i in range(len(samples))]


def test_jsonl(tmp_path):
    path = tmp_path / "t.jsonl"
    lines = [json.dumps({"text": t, "label": y}) for t, y in zip(*ROWS.values())]
    path.write_text(lines[0] + "\n\n" + "\n".join(lines[1:]))
    samples = read(path)
    assert texts(samples) == ROWS["text"] and samples.labels.tolist() == ROWS["label"]
    assert samples.ids == ("t.jsonl:1", "t.jsonl:3", "t.jsonl:4")


def test_bad_json_lines_are_set_aside_by_line(tmp_path):
    good = [json.dumps({"text": f"some words {i}", "label": i % 2}) for i in range(96)]
    bad = ['{"text": ', "[1, 2]", '"just text"', "[" * 100_000]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(good[:50] + bad + good[50:]))
    with pytest.raises(DataError, match="4 of 100 rows"):
        read(path)
    samples = read(path, max_bad=0.04)
    assert len(samples) == 96 and samples.seen == 100
    assert [p.where for p in samples.quarantine] == [f"t.jsonl:{n}" for n in (51, 52, 53, 54)]
    assert "not JSON" in samples.quarantine[0].reason
    assert "a list where an object" in samples.quarantine[1].reason


def test_json_list_with_absent_fields(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[{"x": 1, "label": "a"}, {"x": 2.5, "y2": NaN}, {"x": 3, "label": "b"}]')
    samples = read(path)
    assert samples.labels.tolist() == ["a", None, "b"]
    assert samples.items.frame["x"].tolist() == [1, 2.5, 3]
    assert any("'label' in 1 rows" in note for note in samples.understood["notes"])


def test_jsonl_lists_are_multilabel(tmp_path):
    path = tmp_path / "t.jsonl"
    labels = [["x", "y"], ["y"], [], None]
    path.write_text("\n".join(json.dumps({"text": "a b c d", "tags": tags}) for tags in labels))
    samples = read(path)
    assert samples.task == "multilabel" and samples.classes == ("x", "y")
    assert samples.labels.tolist() == [[True, True], [False, True], [False] * 2, [False] * 2]
    assert any("1 rows have an empty label" in note for note in samples.understood["notes"])


def test_parquet_and_frames_agree_with_csv(tmp_path):
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = [
        read(tmp_path / "t.parquet"),
        read(tmp_path / "t.csv"),
        read(frame),
        read(pl.DataFrame(ROWS)),
        read(pl.LazyFrame(ROWS)),
        read(ROWS),
        read([dict(zip(ROWS, row)) for row in zip(*ROWS.values())]),
    ]
    for samples in found:
        assert texts(samples) == ROWS["text"]
        assert samples.labels.tolist() == ROWS["label"]
        assert samples.modality == "text" and samples.classes == ("a", "b")
    assert found[0].ids[0] == "t.parquet:1" and found[2].ids[2] == "frame[2]"


def test_parquet_that_is_none(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match="not a Parquet file"):
        read(path)


def test_parquet_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch):
    monkeypatch.setattr("isthmus.data.tables._BOMB_CELLS", 1000)
    monkeypatch.setattr("isthmus.data.tables._BOMB_RATIO", 1)
    pd.DataFrame({"x": np.zeros(100_000)}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="claims 100,000 rows"):
        read(tmp_path / "t.parquet")


def test_frame_dtypes():
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "c": pd.Categorical(["u", "v", "u"]),
            "b": [True, False, True],
            "label": pd.Categorical([3, 1, 3]),
        },
        index=[7, 7, 9],
    )
    samples = read(frame)
    assert samples.labels.tolist() == ["3", "1", "3"] and samples.classes == ("1", "3")
    table = samples.items.frame
    np.testing.assert_array_equal(table["i"], [1, np.nan, 3])
    assert table["c"].tolist() == ["u", "v", "u"]
    assert table["b"].tolist() == ["True", "False", "True"]


def test_polars_types():
    frame = pl.DataFrame({"x": [1, None], "c": ["a", "b"], "label": [1.5, 2.0]})
    assert read(frame).items.frame["x"].isna().tolist() == [False, True]


def test_column_names_that_are_no_strings():
    samples = read(pd.DataFrame({0: [1.0, 2.0], 1: [3.0, 4.0], "y": ["a", "b"]}))
    assert list(samples.items.frame.columns) == ["0", "1"]


def test_frames_that_cannot_be_read():
    with pytest.raises(DataError, match="no rows"):
        read(pd.DataFrame({"a": []}))
    with pytest.raises(UsageError, match="several levels"):
        read(pd.DataFrame({("a", "b"): [1]}))


def test_huge_integers_do_not_overflow(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"x": 10**k, "label": k % 2}) for k in range(30)))
    assert read(path).items.frame["x"].iloc[29] == 1e29


@pytest.mark.parametrize(
    "text, why", [("hello", "h.json:1: not JSON"), ("[]", "the list is empty"), ("[1]", "a int")]
)
def test_json_without_a_single_row_says_so(tmp_path, text, why):
    (tmp_path / "h.json").write_text(text)
    with pytest.raises(DataError, match="no row can be read") as error:
        read(tmp_path / "h.json")
    assert why in str(error.value)


def test_numbers_joined_by_an_underscore_are_names(tmp_path):
    rows = [f"{i // 9}_{i % 9}\t{i * 0.37 - 20}\tthe {i}th film was rather long" for i in range(90)]
    (tmp_path / "t.txt").write_text("\n".join(rows))
    found = read(tmp_path / "t.txt")
    assert found.understood["label"]["value"] == "column_2" and found.task == "regression"
    assert found.understood["id"]["value"] == "column_1"
