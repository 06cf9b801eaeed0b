from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from isthmus.data import describe, read, summary


@pytest.fixture
def samples(tmp_path):
    lines = ["text,label,site,patient"]
    lines += [f"words number {i},{'cat' if i % 3 else 'Cat'},s{i % 2},p{i % 5}" for i in range(60)]
    lines += [",cat,s1,p1"] * 15
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return read(tmp_path / "t.csv", max_bad=0.5)


def test_the_block_names_everything(samples):
    text = describe(samples)
    assert "60 rows of text, classification" in text
    assert "2 classes: Cat 20, cat 40" in text
    assert "domains: 2: s0 30, s1 30" in text and "groups: 5: p0 12" in text
    assert "label: label (its name)  [--label]" in text
    assert "set aside: 15 of 75 (20.00 %)  [--max-bad]" in text
    assert "t.csv:62: the text is empty. Fill it in, or delete the row" in text
    assert "t.csv:71:" in text and "t.csv:72:" not in text and "... and 5 more" in text
    assert "kept apart" in text


def test_json_says_the_same(samples):
    found = json.loads(json.dumps(summary(samples), allow_nan=False))
    assert found["rows"] == 60 and found["seen"] == 75
    assert found["classes"] == {"Cat": 20, "cat": 40}
    assert found["domains"] == {"s0": 30, "s1": 30}
    assert len(found["quarantine"]) == 15 and found["quarantine"][0]["label"] == "cat"
    assert found["understood"]["label"]["option"] == "--label"


def test_regression_and_multilabel():
    frame = pd.DataFrame({"x": range(40), "label": np.linspace(0.5, 20, 40)})
    assert "label: from 0.5 to 20, median 10.25" in describe(read(frame))
    frame = pd.DataFrame({"x": range(3), "label": ["a|b", "b", "a"]})
    assert "2 classes: a 2, b 2" in describe(read(frame))


def test_unlabelled_rows_and_no_labels():
    frame = pd.DataFrame({"x": range(3), "label": ["a", None, "b"]})
    assert "unlabelled: 1 rows" in describe(read(frame))
    text = describe(read(frame.drop(columns="label")))
    assert "no labels" in text and "no column has a usual name of a label" in text


def test_long_lists_are_cut():
    frame = pd.DataFrame({"x": range(90), "label": [f"c{i}" for i in range(45)] * 2})
    text = describe(read(frame))
    assert "45 classes" in text and "... 33 more" in text
    wide = read(pd.DataFrame(np.ones((3, 200))).add_prefix("column with a long name "))
    assert max(map(len, describe(wide).splitlines())) < 700


def test_folders(real_data):
    text = describe(read(real_data / "sign_digits"))
    assert "10 classes: 0 205" in text and "layout: class/file" in text
