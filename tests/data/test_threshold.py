"""A comparison as label: two named classes, missing numbers unlabelled, the column no feature."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data import read
from isthmus.data.threshold import compare, parse
from isthmus.errors import UsageError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("num>0", ("num", ">", 0.0)),
        (" max rate <= -1.5 ", ("max rate", "<=", -1.5)),
        ("num", None),
        ("num>x", None),
        ("num>1.2.3", None),
    ],
)
def test_parse(text, want):
    assert parse(text) == want


def test_names_say_what_they_mean():
    got = compare(pd.Series(["0", "1", None, "4"]), "num", ">", 0)
    assert got.tolist() == ["num<=0", "num>0", None, "num>0"]


def test_read_heart_as_two_classes(real_data):
    samples = read(real_data / "heart" / "heart.csv", label="num>0")
    raw = pd.read_csv(real_data / "heart" / "heart.csv")["num"]
    assert samples.task == "classification" and set(samples.classes) == {"num<=0", "num>0"}
    np.testing.assert_array_equal(samples.labels == "num>0", raw > 0)
    assert not {"num", "num>0"} & set(samples.items.frame.columns)
    assert samples.understood["label"]["value"] == "num>0"


def test_a_column_that_is_called_so_wins_and_an_unknown_one_is_refused():
    frame = pd.DataFrame({"a": range(8), "b>1": list("xyxyxyxy")})
    assert set(read(frame, label="b>1").classes) == {"x", "y"}
    with pytest.raises(UsageError, match="no column"):
        read(frame, label="c>1")
