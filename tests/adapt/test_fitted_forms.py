"""Fitted ensembles as values: closed forms, classes that a learner does not know, hostile trees."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.fitted_forms import (
    NEVER,
    Forest,
    MedianOf,
    NeighborShares,
    Translated,
    Votes,
    class_scores,
)
from isthmus.adapt.linear_source import LinearSource
from isthmus.adapt.state import from_state, to_state
from isthmus.adapt.transfer_trees import Tree
from isthmus.errors import IsthmusError, UsageError


def test_a_learner_that_lacks_a_class_never_says_it():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = LogisticRegression().fit(X, [0, 0, 2, 2])
    coef, level = class_scores(model, np.arange(4))
    assert level[[1, 3]].tolist() == [NEVER, NEVER] and coef[[1, 3]].tolist() == [[0], [0]]
    said = (X @ coef.T + level).argmax(axis=1)
    np.testing.assert_array_equal(said, model.predict(X))
    assert class_scores(LinearSource(np.ones((1, 2)), np.zeros(1)), None)[0].shape == (1, 2)
    with pytest.raises(UsageError, match="has no coef_"):
        class_scores(object(), np.arange(2))


def test_votes_count_their_weights():
    one, other = np.eye(2), np.eye(2)[::-1]
    votes = Votes(np.stack([one, other]), np.zeros((2, 2)), np.array([3.0, 1.0]))
    row = np.array([[5.0, 1.0]])  # the first says class 0, the second class 1
    np.testing.assert_allclose(votes(row), [[2 * 0.75 - 1, 2 * 0.25 - 1]])


def test_the_median_is_weighted():
    form = MedianOf(np.array([[1.0], [2.0], [3.0]]), np.zeros(3), np.array([1.0, 1.0, 3.0]))
    assert form(np.array([[10.0]])).tolist() == [30.0]


def stump(**change):
    """x0 <= 0.5: class 0, else class 1."""
    parts = {
        "left": np.array([1, -1, -1]),
        "right": np.array([2, -1, -1]),
        "feature": np.array([0, -2, -2]),
        "threshold": np.array([0.5, -2.0, -2.0]),
        "shares": np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]),
    }
    return Tree(**{**parts, **change})


def test_a_forest_is_the_mean_of_its_trees():
    turned = stump(shares=np.array([[0.5, 0.5], [0.1, 0.9], [0.6, 0.4]]))
    form = Forest((stump(), turned), 2)
    rows = np.array([[0.0, 9.0], [1.0, 9.0]])
    np.testing.assert_allclose(np.exp(form(rows)), [[0.5, 0.5], [0.4, 0.6]])
    again = from_state(*to_state(form))
    np.testing.assert_array_equal(again(rows), form(rows))


@pytest.mark.parametrize(
    "change",
    [
        {"left": np.array([0, -1, -1])},  # its own child: a walk without an end
        {"right": np.array([1, 0, -1]), "left": np.array([2, 0, -1])},
        {"left": np.array([1, -1, 9])},
        {"right": np.array([7, -1, -1])},
        {"feature": np.array([5, -2, -2])},
        {"feature": np.array([-1, -2, -2])},
        {"threshold": np.zeros(2)},
        {"shares": np.zeros((2, 2))},
        {"left": np.zeros((3, 1), dtype=int)},
    ],
)
def test_a_hostile_tree_is_refused_before_it_is_walked(change):
    tree = stump(**change)
    with pytest.raises(IsthmusError):
        Forest((tree,), 2)
    good = to_state(Forest((stump(),), 2))
    for name, value in change.items():
        good[0][f"trees.0.{name}"] = value
    with pytest.raises(IsthmusError):
        from_state(*good)


def test_neighbours_and_rows_of_the_fit():
    points = np.array([[0.0], [1.0], [10.0]])
    shares = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    form = NeighborShares(points, shares, 2)
    np.testing.assert_allclose(form.proba(points), shares)  # a row of the fit is itself
    between = form.proba(np.array([[0.5]]))
    np.testing.assert_allclose(between, [[0.75, 0.25]])
    np.testing.assert_allclose(np.exp(form(np.array([[0.5]]))), between)


def test_source_classes_are_translated():
    form = Translated(
        np.array([[0.0], [1.0]]), np.zeros(2), 2.0, np.array([[1.0, 0.0, 0.0], [0.0, 0.3, 0.7]])
    )
    p = 1 / (1 + np.exp(-4.0 / 2))
    np.testing.assert_allclose(np.exp(form(np.array([[4.0]]))), [[1 - p, 0.3 * p, 0.7 * p]])
