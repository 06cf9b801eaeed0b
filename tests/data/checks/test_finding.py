"""A finding: stable codes, order, and what stops a run."""

from __future__ import annotations

import json
import pickle

import pytest

from isthmus.data.checks.finding import (
    CODES,
    Finding,
    FindingError,
    ordered,
    render,
    stop_on_errors,
)
from isthmus.errors import DataError, IsthmusError

WARNING = Finding("ISX024", "warning", "90 % are 'no'", "figures", "a.csv", "Read F1", ("a", "b"))
ERROR = Finding("ISX013", "error", "random", where="net", remedy="eval()")
INFO = Finding("ISX008", "info", "turned")


def test_codes_are_the_rows_of_the_table():
    assert [f"ISX{row:03d}" for row in range(1, 31)] == list(CODES)[:30]
    assert len(set(CODES.values())) == len(CODES)


def test_unknown_code_or_severity_is_refused():
    with pytest.raises(ValueError, match="ISX123"):
        Finding("ISX123", "info", "x")
    with pytest.raises(ValueError):
        Finding("ISX001", "fatal", "x")  # type: ignore[arg-type]


def test_json_has_all_keys_and_cuts_rows():
    many = Finding("ISX010", "warning", "x", rows=tuple(map(str, range(50))))
    found = json.loads(json.dumps(many.as_dict()))
    assert set(found) == {
        "code", "severity", "cause", "title", "evidence", "where", "remedy", "rows", "count",
        "figures", "overridden",
    }  # fmt: skip
    assert len(found["rows"]) == 20 and found["count"] == 50
    assert found["cause"] == "damaged files"


def test_order_and_no_repetition():
    assert ordered([INFO, WARNING, ERROR, WARNING]) == [ERROR, WARNING, INFO]


def test_only_errors_stop():
    stop_on_errors([WARNING, INFO])
    with pytest.raises(FindingError, match="ISX013: random") as caught:
        stop_on_errors([WARNING, ERROR, ERROR])
    assert isinstance(caught.value, DataError) and isinstance(caught.value, IsthmusError)
    assert caught.value.others == 1
    assert caught.value.as_dict()["code"] == "ISX013"
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.finding == ERROR and str(again) == str(caught.value)


def test_text():
    text = render([ERROR, WARNING])
    assert "ERROR   ISX013  net: random" in text
    assert "-> Read F1" in text and "rows: a, b" in text
    assert text.endswith("1 error, 1 warning, 0 infos")
    assert render([]) == "Nothing was found."
