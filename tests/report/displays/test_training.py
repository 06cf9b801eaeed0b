"""Curves of a training: the figures of the log are what is drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.report.displays.training import TrainingDisplay, save_plot

LOG = [
    {"stage": "source", "losses": {"task": 2.0}, "source_accuracy": 0.2, "held_out": 0.1,
     "held_out_loss": 2.2},
    {"stage": "source", "losses": {"task": 1.0}, "source_accuracy": 0.6, "held_out": 0.5,
     "held_out_loss": 1.5},
    {"stage": "target", "losses": {"task": 0.5}, "source_accuracy": 0.9},
]  # fmt: skip


def test_curves_are_the_figures_of_the_log():
    module = pytest.importorskip("matplotlib.figure")
    found = TrainingDisplay.from_log(LOG)
    assert found.stages == (("source", 0), ("target", 2))
    figure = module.Figure()
    drawn = found.plot(axes=figure.subplots(1, 2))
    accuracy, loss = drawn.axes_
    assert drawn.figure_ is figure and drawn.ax_ is accuracy
    lines = {line.get_label(): line.get_xydata().tolist() for line in accuracy.get_lines()}
    assert lines["training"] == [[1, 0.2], [2, 0.6], [3, 0.9]]
    assert lines["validation"] == [[1, 0.1], [2, 0.5]]
    lines = {line.get_label(): line.get_xydata().tolist() for line in loss.get_lines()}
    assert lines["training"] == [[1, 2.0], [2, 1.0], [3, 0.5]]
    assert lines["validation"] == [[1, 2.2], [2, 1.5]]
    assert [text.get_text() for text in loss.texts] == ["source", "target"]


def test_a_folder_is_read_and_a_png_written(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, LOG)) + "\n")
    found = TrainingDisplay.from_folder(tmp_path)
    np.testing.assert_array_equal(found.loss["training"], [2.0, 1.0, 0.5])
    assert save_plot(tmp_path / "a.png", LOG) and save_plot(tmp_path / "b.png", LOG)
    first = (tmp_path / "a.png").read_bytes()
    assert first.startswith(b"\x89PNG") and first == (tmp_path / "b.png").read_bytes()


def test_without_a_validation_set_there_is_one_curve():
    found = TrainingDisplay.from_log([{"losses": {"task": 1.0}, "source_accuracy": 0.5}])
    assert set(found.accuracy) == set(found.loss) == {"training"}


def test_no_log_is_refused(tmp_path):
    with pytest.raises(DataError, match="no metric log"):
        TrainingDisplay.from_folder(tmp_path)
    with pytest.raises(DataError, match="empty"):
        TrainingDisplay.from_log([])
