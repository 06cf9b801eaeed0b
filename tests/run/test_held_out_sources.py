"""Which sentence the held-out sources get, and which of their rows are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.run.held_out_sources import MOST, drawn, reading
from isthmus.types import Interval


def gain(value, low, high):
    return Interval(value, low, high, level=0.95, how="t")


@pytest.mark.parametrize(
    "gains, metric, words",
    [
        ({"adapted": gain(0.05, 0.01, 0.09)}, "accuracy", "pooled, CORAL to its rows would help"),
        ({"adapted": gain(0.05, -0.01, 0.11)}, "accuracy", "CORAL is not sure to help"),
        ({"adapted": gain(-0.5, -0.7, -0.3)}, "mae", "CORAL to its rows would help"),
        ({"adapted": gain(0.5, 0.3, 0.7)}, "mae", "not sure to help"),
    ],
)
def test_only_a_sure_gain_is_promised(gains, metric, words):
    assert words in reading(gains, 3, metric)


def test_every_source_keeps_its_share_of_rows_up_to_the_limit():
    ids = np.repeat([0, 1], [MOST + 500, 70])
    rows = drawn(ids, 0)
    assert (ids[rows] == 1).sum() == 70 and (ids[rows] == 0).sum() == MOST
    assert (np.diff(rows) > 0).all() and (drawn(ids, 0) == rows).all()
