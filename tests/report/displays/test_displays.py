"""The matplotlib displays: known numbers on the axes, and the same call draws again."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from isthmus.errors import DataError
from isthmus.report import displays as d


@pytest.fixture(autouse=True)
def closed():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_gap_keeps_distances_of_flat_data():
    """Rows in a plane: two components hold everything, and distances are those of the rows."""
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(60, 2)) @ np.linalg.qr(rng.normal(size=(7, 2)))[0].T
    found = d.GapDisplay.from_domains(flat[:40], flat[40:])
    assert found.explained == pytest.approx(1.0)
    there = np.concatenate([found.source, found.target])
    assert np.linalg.norm(there[3] - there[50]) == pytest.approx(np.linalg.norm(flat[3] - flat[50]))
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    assert found.plot(ax=ax) is found and found.ax_ is ax and found.figure_ is ax.figure
    assert [len(c.get_offsets()) for c in ax.collections] == [40, 20]
    with pytest.raises(DataError, match="same features"):
        d.GapDisplay.from_domains(flat, flat[:, :3])


def test_prior_counts_labels():
    found = d.PriorShiftDisplay.from_labels(["a", "a", "b", "10"], ["b", "b"])
    assert dict(zip(found.classes, found.source)) == {"a": 0.5, "b": 0.25, "10": 0.25}
    assert dict(zip(found.classes, found.target)) == {"a": 0.0, "b": 1.0, "10": 0.0}
    assert [t.get_text() for t in found.plot().ax_.get_yticklabels()] == list(found.classes)


def test_drift_puts_the_shifted_feature_first():
    rng = np.random.default_rng(1)
    Xs, Xt = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    Xt[:, 2] += 3
    found = d.DriftDisplay.from_domains(Xs, Xt, names=["p", "q", "r", "s"])
    assert found.names[0] == "r" and found.drifted[0] and not found.drifted[1:].any()
    bars = found.plot(most=2).ax_.patches
    assert len(bars) == 2 and bars[0].get_width() == pytest.approx(found.statistic[0])


def test_calibration_errors_are_those_of_the_table():
    y = ["a"] * 9 + ["b"]
    sure, honest = np.tile([0.99, 0.01], (10, 1)), np.tile([0.9, 0.1], (10, 1))
    found = d.CalibrationShiftDisplay.from_predictions(y, sure, honest, classes=["a", "b"])
    assert found.before.ece == pytest.approx(0.09) and found.after.ece == pytest.approx(0.0)
    names = [t.get_text() for t in found.plot().ax_.get_legend().get_texts()]
    assert names == ["before (ECE 0.090)", "after (ECE 0.000)"]


def test_displays_of_a_run(table_run, texts_run):
    board = d.LeaderboardDisplay.from_folder(table_run)
    assert board.chosen in board.names and (board.low <= board.score).all()
    assert len(board.plot().ax_.get_yticklabels()) == len(board.names)
    curve = d.LabelCurveDisplay.from_folder(table_run)
    assert (np.diff(curve.labels) > 0).all() and curve.labels[-1] <= 20
    curve.plot()
    with pytest.raises(DataError, match="learning curve"):
        d.LabelCurveDisplay.from_folder(texts_run)
