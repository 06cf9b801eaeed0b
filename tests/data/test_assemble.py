from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data import read
from isthmus.errors import DataError, UsageError

X = np.arange(24.0).reshape(12, 2)


def frame(label, **columns):
    return pd.DataFrame({"x": np.arange(len(label)) * 1.5, "label": label, **columns})


def test_empty_labels_are_unlabelled_rows():
    samples = read(frame(["a", None, "", "?", "b", "NA"]))
    assert samples.labels.tolist() == ["a", None, None, None, "b", None]
    assert samples.labelled.tolist() == [True, False, False, False, True, False]
    assert len(samples) == 6 and not samples.quarantine
    assert "4 rows carry no label" in samples.understood["notes"][-1]


def test_a_label_column_without_any_label():
    samples = read(frame([None, None]))
    assert samples.labels is None and samples.task is None
    assert "every cell is empty" in samples.understood["label"]["why"]


def test_regression():
    values = [f"{i},5" for i in range(30)]
    samples = read(frame([*values, None]))
    assert samples.task == "regression" and samples.classes == ()
    np.testing.assert_array_equal(samples.labels, [*(i + 0.5 for i in range(30)), np.nan])
    assert samples.labels.dtype == np.float64


def test_a_label_that_is_no_number_is_set_aside_in_regression():
    samples = read(frame([1.5, "x", 2.5]), task="regression", max_bad=0.5)
    assert samples.labels.tolist() == [1.5, 2.5]
    assert "'x' is not a number" in samples.quarantine[0].reason


def test_the_task_may_be_given():
    assert read(frame([1, 2, 3]), task="regression").labels.tolist() == [1, 2, 3]
    assert read(frame(np.linspace(0, 1, 20)), task="classification").task == "classification"
    samples = read(frame(["a", "b;c"]), task="multilabel")
    assert samples.classes == ("a", "b", "c")
    with pytest.raises(UsageError, match="lists"):
        read(frame([["a"], ["b"]]), task="classification")


def test_multilabel_columns():
    columns = frame(["x", "y", "z"], a=[1, 0, 1], b=["yes", "no", None])
    samples = read(columns, label="b,a")
    assert samples.task == "multilabel" and samples.classes == ("b", "a")
    assert samples.labels.tolist() == [[True, True], [False, False], [False, True]]
    assert read(columns, label=["b", "a"]).classes == ("b", "a")
    with pytest.raises(UsageError, match="no column 'c'"):
        read(columns, label=["b", "c"])
    with pytest.raises(DataError, match="a is 2, neither 0 nor 1"):
        read(frame(["x", "y"], a=[2, 0], b=[0, 1]), label="a,b")
    with pytest.raises(UsageError, match="several label columns"):
        read(columns, label="a,b", task="regression")


def test_domains_and_groups_with_gaps():
    samples = read(
        frame(["a", "b"] * 3, site=["u", "v", None, "u", "v", "u"], patient=[1, 1, 2, 2, None, ""])
    )
    assert samples.domain.tolist() == ["u", "v", "(unknown)", "u", "v", "u"]
    assert samples.groups.tolist() == ["1", "1", "2", "2", "(alone) frame[4]", "(alone) frame[5]"]
    assert len(samples.understood["notes"]) == 2


def test_values_beside_the_data():
    samples = read(X, label=["a", "b"] * 6, group=[0, 1, 2] * 4, domain=["u"] * 12, id=range(12))
    assert samples.classes == ("a", "b") and samples.ids[3] == "3"
    assert samples.groups.tolist() == ["0", "1", "2"] * 4
    samples = read(pd.DataFrame({"x": X[:, 0]}), label=["a", "b"] * 6, group=[0] * 12)
    assert samples.classes == ("a", "b") and list(samples.items.frame.columns) == ["x"]
    assert set(samples.groups) == {"0"}
    assert read(X[:2], label=["no", "yes"]).classes == ("no", "yes")
    assert read(pd.DataFrame({"x": [1, 2]}), label=["no", "yes"]).classes == ("no", "yes")
    with pytest.raises(UsageError, match=r"3 (labels|values)"):
        read(X, label=[1, 2, 3])
    with pytest.raises(UsageError, match="2 values of group"):
        read(pd.DataFrame({"x": X[:, 0]}), group=[0, 1])
    with pytest.raises(UsageError, match="2 values"):
        read(X, group=[0, 1])


def test_splits():
    samples = read(frame(["a", "b"] * 3, split=["Train", "dev", "test"] * 2))
    assert samples.split.tolist() == ["train", "val", "test"] * 2
    kept = read(frame(["a", "b"] * 3, split=["Train", "dev", "test"] * 2), split="validation")
    assert kept.ids == ("frame[1]", "frame[4]")
    with pytest.raises(UsageError, match="The splits are test, train, val"):
        read(frame(["a", "b"] * 3, split=["Train", "dev", "test"] * 2), split="nope")
    by_column = frame(["a", "b"], part=["one", "two"])
    assert read(by_column, split="part").split.tolist() == ["one", "two"]


def test_failures_that_follow_a_class_stop_the_reading():
    labels = ["often"] * 1990 + ["rare"] * 10
    values = np.arange(2000.0)
    values[1992:] = np.nan
    with pytest.raises(DataError, match=r"rare 8/10 \(80.0 %\)"):
        read(pd.DataFrame({"x": values, "label": labels}))
    assert len(read(pd.DataFrame({"x": values, "label": labels}), max_bad=1)) == 1992


def test_label_spellings_are_noted():
    samples = read(frame(["Cat", "cat ", "cat", "1", 1]))
    assert samples.labels.tolist() == ["Cat", "cat", "cat", "1", "1"]
    notes = " ".join(samples.understood["notes"])
    assert "'cat' is written in several ways" in notes and "kept apart" in notes
