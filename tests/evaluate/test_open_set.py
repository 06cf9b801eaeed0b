"""Figures of novel rows against counts by hand; what a closed run gets; refusals."""

import numpy as np
import pytest

from isthmus.errors import UsageError
from isthmus.evaluate.metrics import score

CLASSES = ("ant", "bee")
TRUTH = ["ant", "ant", "ant", "ant", "bee", "bee", "cat", "cat", "dog", "dog"]


def test_by_hand():
    said = ["ant", "ant", "ant", "unknown", "bee", "ant", "unknown", "unknown", "unknown", "bee"]
    found = score(TRUTH, predicted=said, classes=CLASSES, task="classification", unknown="unknown")
    value = {name: found[name].value for name in found if hasattr(found[name], "value")}
    assert value["os_star"] == pytest.approx((0.75 + 0.5) / 2)
    assert value["unknown_recall"] == pytest.approx(0.75)
    assert value["h_score"] == pytest.approx(2 * 0.625 * 0.75 / (0.625 + 0.75))
    assert value["os"] == pytest.approx((0.75 + 0.5 + 0.75) / 3)
    assert value["known_accuracy"] == pytest.approx(4 / 6)
    assert value["false_refusal"] == pytest.approx(1 / 6)
    assert value["accuracy"] == pytest.approx(7 / 10)  # a novel row that is refused is right
    assert found["unseen"] == {"cat": 2, "dog": 2}
    assert found["h_score"].low < found["h_score"].value < found["h_score"].high
    assert found["confusion"]["classes"] == ["ant", "bee", "unknown"]
    assert "abstains" in found["log_loss"].how


def test_a_closed_run_finds_no_unknown_row_and_has_no_h_score():
    said = ["ant"] * 4 + ["bee"] * 6
    found = score(TRUTH, predicted=said, classes=CLASSES, task="classification")
    assert found["h_score"].value == 0 and found["unknown_recall"].value == 0
    assert found["os_star"].value == 1 and found["accuracy"].value == pytest.approx(0.6)
    assert found["false_refusal"].value == 0


def test_refusing_everything_has_no_h_score_either():
    found = score(
        TRUTH, predicted=["unknown"] * 10, classes=CLASSES, task="classification", unknown="unknown"
    )
    assert found["unknown_recall"].value == 1 and found["h_score"].value == 0


def test_without_novel_rows_only_the_refusals_are_told():
    said = ["ant", "unknown", "bee", "bee"]
    found = score(
        ["ant", "ant", "bee", "bee"],
        predicted=said,
        classes=CLASSES,
        task="classification",
        unknown="unknown",
    )
    assert np.isnan(found["h_score"].value) and "no test row" in found["h_score"].how
    assert found["false_refusal"].value == pytest.approx(0.25)
    assert found["absent"] == []
    plain = score(["ant", "bee"], predicted=["ant", "bee"], classes=CLASSES, task="classification")
    assert "h_score" not in plain


def test_a_class_of_that_name_is_refused():
    with pytest.raises(UsageError, match="cannot stand"):
        score(
            ["ant"],
            predicted=["ant"],
            classes=("ant", "unknown"),
            task="classification",
            unknown="unknown",
        )
