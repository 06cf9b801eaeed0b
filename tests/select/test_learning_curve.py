"""Curves of models whose true curve is known, refusals, and what must never leak."""

from __future__ import annotations

import time

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.fit.centroid import NearestMeanHead
from isthmus.select.learning_curve import learning_curve, nothing_known


def known_law(y, a: float, b: float, c: float):
    """A model that is right with probability a - b (n + 1)^-c, whatever the rows."""

    def fit(rows):
        rng = np.random.default_rng([len(rows), *map(int, rows)])

        def predict(test):
            right = rng.random(len(test)) < a - b * (len(rows) + 1) ** -c
            return np.where(right, y[test], "wrong")

        return predict

    return fit


def names(n: int, seed: int = 0):
    return np.random.default_rng(seed).choice(["no", "yes"], n)


@pytest.mark.parametrize(("a", "b", "c", "n"), [(0.95, 0.9, 0.3, 60), (0.9, 0.6, 0.5, 60)])
def test_intervals_hold_the_true_gain(a, b, c, n):
    truth = b * ((n + 1) ** -c - (n + 51) ** -c)
    found = []
    for seed in range(10):
        y = names(n, seed)
        found.append(learning_curve(known_law(y, a, b, c), y, random_state=seed).expected_gain)
    assert sum(i.low <= truth <= i.high for i in found) >= 8
    assert np.mean([i.value for i in found]) == pytest.approx(truth, rel=0.5)
    assert all(i.level == 0.9 and "60 rows" in i.how for i in found)


def test_a_model_that_is_done_learning_gains_nothing():
    y = names(80)
    gain = learning_curve(known_law(y, 0.8, 0.0, 1.0), y).expected_gain
    assert gain.value < 0.03 and gain.low < 0 < gain.high < 0.08


def test_a_steeper_curve_promises_more():
    y = names(60)
    steep = learning_curve(known_law(y, 0.95, 0.9, 0.3), y).expected_gain
    flat = learning_curve(known_law(y, 0.7, 0.05, 0.3), y).expected_gain
    assert steep.value > flat.value + 0.01


def test_scores_are_those_of_held_out_rows():
    """A real head on real geometry: the curve rises to the score of all rows; none is its own."""
    rng = np.random.default_rng(0)
    y = names(120)
    X = rng.normal(size=(120, 20)) + 0.6 * (y == "yes")[:, None]
    seen = []

    def fit(rows):
        head = NearestMeanHead().fit(X[rows], y[rows])

        def predict(test):
            assert not set(rows) & set(test)
            seen.append(len(rows))
            return head.predict(X[test])

        return predict

    curve = learning_curve(fit, y, n_repeats=2)
    assert sorted(set(seen)) == list(curve.sizes) and curve.sizes[-1] == 96
    assert curve.scores[-1] > curve.scores[0] + 0.05 and curve.scores[-1] > 0.8
    assert all(i.low <= s <= i.high for s, i in zip(curve.scores, curve.intervals))
    lines = curve.rows()
    assert [line["labels"] for line in lines] == [*curve.sizes, 170]
    assert lines[-1]["kind"] == "expected gain"
    assert curve.sentence.startswith("Label these 50 next: expected gain")


def test_groups_are_never_on_both_sides():
    y = names(60)
    groups = np.repeat(np.arange(12), 5)

    def fit(rows):
        def predict(test):
            assert not set(groups[rows]) & set(groups[test])
            return y[test]

        return predict

    curve = learning_curve(fit, y, groups=groups, sizes=[5, 10, 20])
    assert curve.scores == (1.0, 1.0, 1.0) and "12 groups" in curve.expected_gain.how


def test_size_zero_is_the_source_alone():
    y = names(40)
    asked = []

    def fit(rows):
        asked.append(len(rows))
        return lambda test: y[test] if len(rows) else np.full(len(test), "wrong")

    curve = learning_curve(fit, y, from_zero=True, n_repeats=1)
    assert curve.sizes[0] == 0 and curve.scores[0] == 0.0 and 0 in asked


def test_every_training_part_has_every_class():
    y = np.array(["a"] * 40 + ["b"] * 5 + ["c"] * 5)

    def fit(rows):
        assert set(y[rows]) == {"a", "b", "c"}
        return lambda test: y[test]

    assert learning_curve(fit, y).scores[0] == 1.0


def test_regression_gains_are_in_its_own_unit():
    rng = np.random.default_rng(0)
    y = 100 * rng.normal(size=80)

    def fit(rows):
        return lambda test: y[test] + 300 * (len(rows) + 1) ** -0.5

    curve = learning_curve(fit, y, task="regression")
    assert curve.scores[0] == pytest.approx(-300 * (curve.sizes[0] + 1) ** -0.5)
    truth = 300 * (81**-0.5 - 131**-0.5)
    assert curve.expected_gain.low <= truth <= curve.expected_gain.high
    assert curve.expected_gain.value == pytest.approx(truth, rel=0.3)
    assert f"{curve.expected_gain.value:+.3g} +-" in curve.sentence


def test_a_size_that_fails_is_left_out_with_its_reason():
    y = names(50)

    def fit(rows):
        if len(rows) < 10:
            raise DataError("too few rows for this model")
        return lambda test: y[test]

    curve = learning_curve(fit, y)
    assert min(curve.sizes) >= 10 and "too few rows for this model" in curve.notes[0]
    curve = learning_curve(fit, y, sizes=[4, 12, 30])
    assert curve.expected_gain is None and "2 sizes" in curve.reason


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([], "no target row is labelled"),
        (["a", "b"] * 3, "6 labelled target rows are too few"),
        (["a"] * 20, "one class"),
        ([str(i) for i in range(20)], "no class has two"),
    ],
)
def test_where_nothing_can_be_said_the_reason_is(y, said):
    def fit(rows):
        raise AssertionError("nothing is fitted")

    curve = learning_curve(fit, y)
    assert curve.expected_gain is None and said in curve.reason and said in curve.sentence
    assert curve.rows() == [] and curve.as_dict()["expected_gain"] is None


def test_without_labels_there_is_a_ready_answer():
    assert "no target row is labelled" in nothing_known(20).sentence


def test_the_time_ends_between_repeats():
    y = names(40)
    fits = []

    def fit(rows):
        fits.append(rows)
        return lambda test: y[test]

    curve = learning_curve(fit, y, sizes=[4, 8, 16], deadline=time.monotonic() - 1)
    assert len(fits) == 15 and "after 1 of 3 repeats" in curve.notes[0]
    assert curve.expected_gain is not None


def test_same_seed_same_curve():
    y = names(40)
    one, two = (learning_curve(known_law(y, 0.9, 0.5, 0.5), y, random_state=4) for _ in "ab")
    assert one == two


@pytest.mark.parametrize("change", [{"add": 0}, {"n_repeats": 0}, {"level": 1}, {"sizes": [99]}])
def test_senseless_calls_are_refused(change):
    with pytest.raises(UsageError):
        learning_curve(lambda rows: lambda test: test, names(40), **change)
