"""The two CSV files: ids and figures survive the way to the disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data import read
from isthmus.errors import DataError
from isthmus.run.label_next_csv import write_label_next, write_learning_curve
from isthmus.run.labelfile import attach_labels
from isthmus.select.label_next import LabelNext
from isthmus.select.learning_curve import LearningCurve, nothing_known
from isthmus.types import Interval


def chosen(*rows: int) -> list[LabelNext]:
    return [LabelNext(r, 0.5, 0.25, 1.0, 0.125, "unsure; new") for r in rows]


@pytest.fixture
def samples(tmp_path):
    frame = pd.DataFrame({"name": ["a.jpg", "=b", "c,d"], "x": [0.0, 1.0, 2.0]})
    return read(frame, id="name", modality="table")


def test_rows_become_ids_in_their_order(samples, tmp_path):
    path = write_label_next(tmp_path, chosen(2, 0), samples)
    found = pd.read_csv(path)
    assert path.name == "label_next.csv"
    assert list(found.columns) == [
        "id", "rank", "score", "uncertainty", "coverage", "typicality", "reason",
    ]  # fmt: skip
    assert found["id"].tolist() == ["c,d", "a.jpg"] and found["rank"].tolist() == [1, 2]
    assert found.loc[0, ["score", "uncertainty", "coverage", "typicality"]].tolist() == [
        0.5, 0.25, 1.0, 0.125,
    ]  # fmt: skip


def test_no_spreadsheet_runs_an_id(samples, tmp_path):
    path = write_label_next(tmp_path, chosen(1), samples)
    assert path.read_text().splitlines()[1].startswith("'=b,")


def test_with_labels_filled_in_it_is_a_label_file(samples, tmp_path):
    path = write_label_next(tmp_path, chosen(2, 0), samples)
    frame = pd.read_csv(path)
    frame["label"] = ["yes", "no"]
    frame[["id", "label"]].to_csv(path, index=False)
    marked = attach_labels(samples, path)
    assert marked.chosen.tolist() == [True, False, True]
    assert marked.samples.labels is not None
    assert [marked.samples.labels[i] for i in (0, 2)] == ["no", "yes"]


def test_a_row_of_other_data_is_refused(samples, tmp_path):
    with pytest.raises(DataError, match="row 3 of 3"):
        write_label_next(tmp_path, chosen(3), samples)
    assert not list(tmp_path.glob("*.csv"))


def test_the_curve_has_measured_sizes_and_the_gain(tmp_path):
    at = [Interval(0.5, 0.4, 0.6), Interval(0.75, 0.7, 0.8)]
    curve = LearningCurve((5, 20), (0.5, 0.75), tuple(at), 25, 50, Interval(0.05, -0.01, 0.1))
    found = pd.read_csv(write_learning_curve(tmp_path, curve))
    assert found["labels"].tolist() == [5, 20, 75]
    assert found["kind"].tolist() == ["measured", "measured", "expected gain"]
    np.testing.assert_allclose(found["low"], [0.4, 0.7, -0.01])
    np.testing.assert_allclose(found["score"], [0.5, 0.75, 0.05])


def test_an_unknown_curve_is_a_header_alone(tmp_path):
    path = write_learning_curve(tmp_path, nothing_known())
    assert path.read_text() == "labels,score,low,high,kind\n"
