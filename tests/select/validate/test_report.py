"""The table of what validators said: order, reasons, who is left out, reliability from JSON."""

from __future__ import annotations

import json
import logging

import pytest

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Score
from isthmus.select.validate.report import table

FOUND = {
    "bnm": {"source-only": Score(0.5), "coral": Score(0.75), "pca": Score(0.25)},
    "iwcv": {"source-only": Score(0.9), "coral": Score(0.8),
             "pca": Score(None, "pca has no folds")},
    "dev": {name: Score(None, "the weights leave 1.2 effective rows") for name in
            ("source-only", "coral", "pca")},
    "mixval": {"source-only": Score(1.0), "coral": Score(1.0), "pca": Score(1.0)},
}  # fmt: skip
MEASURED = {"iwcv": {"value": 0.41, "low": 0.3, "high": 0.5, "tasks": 70}, "bnm": 0.1}


def test_used_ones_come_first_by_reliability_and_failures_are_left_out_loudly(caplog):
    with caplog.at_level(logging.WARNING):
        got = table(FOUND, reliability=json.loads(json.dumps(MEASURED)))
    assert [c.name for c in got.used] == ["iwcv", "bnm"]
    assert set(got.left_out) == {"dev", "mixval"}
    assert "1.2 effective rows" in got.left_out["dev"]
    assert "every candidate" in got.left_out["mixval"]
    warned = " ".join(record.getMessage() for record in caplog.records)
    assert "dev is left out" in warned and "mixval is left out" in warned
    assert got.used[0].values() == {"source-only": 0.9, "coral": 0.8}
    assert str(got.used[0].reliability) == "+0.41 [+0.30, +0.50] on 70 tasks"


def test_the_text_says_all_of_it():
    lines = table(FOUND, reliability=MEASURED).text().splitlines()
    assert lines[0].split() == ["candidate", "iwcv", "bnm"]
    assert lines[1].split() == ["source-only", "0.9000", "0.5000"]
    assert lines[3].split() == ["pca", "-", "0.2500"]
    assert lines[4].split() == ["reliability", "+0.41", "+0.10"]
    assert "no iwcv for pca: pca has no folds" in lines
    assert any(line.startswith("left out: dev: no value for any candidate") for line in lines)


def test_the_json_form_is_plain_and_whole():
    page = json.loads(json.dumps(table(FOUND, reliability=MEASURED).as_dict(), allow_nan=False))
    by = {v["name"]: v for v in page["validators"]}
    assert by["iwcv"]["scores"]["pca"] == {"value": None, "reason": "pca has no folds"}
    assert by["iwcv"]["reliability"]["tasks"] == 70 and by["mixval"]["reliability"] is None
    assert not by["dev"]["used"] and by["dev"]["left_out"]


def test_without_measurements_nothing_is_trusted_by_name():
    got = table(FOUND)
    assert [c.name for c in got.used] == ["bnm", "iwcv"]
    assert "not measured" in got.text()


def test_few_values_are_too_few():
    scores = {name: Score(None, f"no folds {name > 'b'}") for name in "abcd"} | {"e": Score(1.0)}
    got = table({"iwcv": scores})
    assert got.left_out["iwcv"].startswith("a value for 1 of 5 candidates only: no folds")
    assert table({"iwcv": scores}, at_least=0.2).used
    assert table({"iwcv": scores}, at_least=0.2).candidates == tuple("abcde")


def test_a_single_candidate_and_none():
    assert table({"bnm": {"a": Score(0.0)}}).used
    assert table({"bnm": {}}).left_out == {"bnm": "there are no candidates"}
    assert table({}).text() == "No validator has a say."


def test_refusals():
    with pytest.raises(DataError, match="not every validator scored b"):
        table({"x": {"a": Score(1.0)}, "y": {"a": Score(1.0), "b": Score(0.0)}})
    for bad in ("high", {"low": 1}, [1], {"value": 1, "tasks": "many"}):
        with pytest.raises(DataError, match="cannot be read"):
            table(FOUND, reliability={"bnm": bad})
    with pytest.raises(UsageError, match="at_least"):
        table(FOUND, at_least=0)
