from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.evaluate.calibration import reliability


def test_by_hand():
    table = reliability([0.05, 0.15, 0.15, 0.95, 1.0], [0, 0, 1, 1, 1], bins=10)
    assert table.count.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert table.codes.tolist() == [0, 1, 1, 9, 9]
    assert table.confidence[[0, 1, 9]] == pytest.approx([0.05, 0.15, 0.975])
    assert table.accuracy[[0, 1, 9]] == pytest.approx([0, 0.5, 1])
    assert np.isnan(table.accuracy[5])
    assert table.ece == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5)


def test_edges_belong_to_the_lower_bin():
    assert reliability([0.0, 0.1, 0.2, 0.3], [1] * 4, bins=10).codes.tolist() == [0, 0, 1, 2]


def test_matches_a_plain_loop_on_digits():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    X, y = load_digits(return_X_y=True)
    model = LogisticRegression(C=1e-4, max_iter=500).fit(X[::2], y[::2])
    proba = model.predict_proba(X[1::2])
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y[1::2]
    total = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    table = reliability(confidence, right)
    assert table.ece == pytest.approx(total / len(right))
    assert table.ece > 0.05  # so strong a penalty leaves the model unsure of itself
    adaptive = reliability(confidence, right, adaptive=True)
    assert adaptive.count.max() - adaptive.count.min() <= 1
    assert adaptive.ece == pytest.approx(table.ece, abs=0.05)


def test_adaptive_keeps_ties_together():
    table = reliability([0.5] * 8 + [0.9] * 2, [1] * 10, bins=5, adaptive=True)
    assert sorted(table.count[table.count > 0].tolist()) == [2, 8]
    assert reliability([0.7] * 4, [1, 1, 0, 0], adaptive=True).ece == pytest.approx(0.2)


def test_json():
    text = json.dumps(reliability([0.2, 0.9], [0, 1], bins=4).as_dict(), allow_nan=False)
    assert json.loads(text)["bins"][2] == {
        "low": 0.5,
        "high": 0.75,
        "count": 0,
        "confidence": None,
        "accuracy": None,
    }


@pytest.mark.parametrize(
    ("confidence", "right"), [([1.2], [1]), ([np.nan], [1]), ([0.5, 0.5], [1]), ([], [])]
)
def test_refusals(confidence, right):
    with pytest.raises(DataError):
        reliability(confidence, right)


def test_no_bins():
    with pytest.raises(UsageError):
        reliability([0.5], [1], bins=0)
