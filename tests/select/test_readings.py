"""The sentences follow the intervals; none claims a gap that its figure does not show."""

from __future__ import annotations

import pytest

from isthmus.select import readings
from isthmus.types import Interval


@pytest.mark.parametrize(
    ("auc", "words"),
    [
        ((0.55, 0.48, 0.62), "not tell the domains apart"),
        ((0.60, 0.55, 0.65), "a little"),
        ((0.80, 0.75, 0.85), "clearly"),
        ((0.95, 0.93, 0.97), "far apart"),
        ((1.00, 0.98, 1.00), "almost without error"),
    ],
)
def test_separation(auc, words):
    assert words in readings.separation(Interval(*auc))


def test_mmd_speaks_of_the_test_and_not_of_the_size():
    assert "distributions differ" in readings.mmd(0.005)
    assert "under 1 %" in readings.mmd(0.005)
    assert "Chance explains it" in readings.mmd(0.3) and "30 %" in readings.mmd(0.3)
    assert readings.mmd(None) == "Not tested."


def test_distances_are_compared_with_a_random_deal():
    assert "about as much" in readings.against_chance(1.2, 1.0, "covariances")
    assert "7 times as much" in readings.against_chance(7.0, 1.0, "covariances")
    assert "agree" in readings.against_chance(0.0, 0.0, "covariances")
    assert "differ" in readings.against_chance(1.0, 0.0, "covariances")


def test_class_shares():
    far = Interval(0.3, 0.25, 0.35)
    assert "agree within chance" in readings.shares(far, 0.2, 0.05)
    assert "30 % of the rows would have to change class" in readings.shares(far, 0.001, 0.05)
    assert "No class share" in readings.estimated_shares([], True)
    assert "a, b." in readings.estimated_shares(["a", "b"], True)
    assert "may be wrong" in readings.estimated_shares(["a"], False)


@pytest.mark.parametrize(
    ("towards", "words"),
    [(-0.3, "keeps"), (0.1, "keeps"), (0.4, "still nearer"), (0.7, "may not carry over")],
)
def test_a_class_that_moves(towards, words):
    assert words in readings.class_gap(towards, "bee")


def test_otdd_and_drift_count():
    assert "All 3 shared classes" in readings.otdd(3, 3)
    assert "2 of 3" in readings.otdd(2, 3) and "no class name" in readings.otdd(0, 0)
    assert "None of 8" in readings.drift(0, 8, 0.05)
    assert "All 8" in readings.drift(8, 8, 0.05) and "5 %" in readings.drift(3, 8, 0.05)


def test_a_source_model_abroad():
    home, worse, alike = (Interval(v, v - 0.03, v + 0.03) for v in (0.9, 0.6, 0.88))
    assert "loses 30.0 points" in readings.accuracy_loss(home, worse, "accuracy")
    assert "about as well" in readings.accuracy_loss(home, alike, "accuracy")
    assert "better on the target" in readings.accuracy_loss(worse, home, "accuracy")


def test_the_page_in_short():
    def page(value, low, **more):
        return readings.summary(
            {"gaps": [{"interval": {"value": value, "low": low}}], "prior": None, **more}
        )

    assert "No gap" in page(0.52, 0.48)
    assert "overlap" in page(0.8, 0.7) and "hardly overlap" in page(0.97, 0.95)
    text = page(0.8, 0.7, prior={"shifted": True}, source_model={"reading": "It loses."})
    assert "It loses." in text and "class shares differ" in text
