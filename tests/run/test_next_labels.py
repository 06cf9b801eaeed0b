"""What a saved run leaves for the next labels: rows that were not labelled yet, and the curve."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isthmus import transfer


def blobs(n, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    X = rng.normal(size=(n, 6)) + 3 * np.eye(6)[codes] + shift
    return X.astype("f4"), np.array(["ant", "bee", "cat"], dtype=object)[codes]


def test_without_labels_rows_are_named_and_no_gain_is_invented(tmp_path):
    said = []
    transfer(blobs(150), blobs(120, 1, 0.5)[0], out=tmp_path / "run", say=said.append)
    frame = pd.read_csv(tmp_path / "run" / "label_next.csv")
    assert len(frame) == 50 and frame["rank"].tolist() == list(range(1, 51))
    assert frame["id"].is_unique
    assert not (tmp_path / "run" / "learning_curve.csv").exists()
    assert "Saved in" in said[-1]


def test_with_labels_the_labelled_rows_are_left_out_and_the_curve_is_there(tmp_path):
    result = transfer(blobs(150), blobs(200, 1, 0.5), shots=8, out=tmp_path / "run")
    frame = pd.read_csv(tmp_path / "run" / "label_next.csv")
    assert set(frame["id"].astype(str)) <= set(result.predictions["id"].astype(str))
    curve = pd.read_csv(tmp_path / "run" / "learning_curve.csv")
    assert (curve["kind"] == "expected gain").sum() == 1
    assert curve["labels"].max() == 24 + 50


def test_numbers_to_predict_have_no_list(tmp_path):
    X, _ = blobs(120)
    transfer((X, X[:, 0]), blobs(90, 1)[0], task="regression", out=tmp_path / "run")
    assert not (tmp_path / "run" / "label_next.csv").exists()
