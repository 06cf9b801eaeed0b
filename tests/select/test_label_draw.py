"""Class shares where labels are drawn by class: counts that say nothing are not believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.folds import folds as make_folds
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.label_draw import drawn_by_class, row_weights
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.stacked import stack


@pytest.mark.parametrize(
    ("counts", "by_class"),
    [
        ([5, 5], True),
        ([5, 5, 5, 2], True),  # the last has no more rows
        ([5, 0, 5], True),  # one class was not found
        ([1, 1, 1], True),
        ([6, 4], False),
        ([20, 3, 3, 4], False),
        ([9], False),
        ([0, 0], False),
    ],
)
def test_a_draw_by_class_is_seen(counts, by_class):
    assert drawn_by_class(np.array(counts)) is by_class


def test_random_draws_are_seldom_taken_for_draws_by_class():
    rng = np.random.default_rng(0)
    draws = rng.multinomial(30, [0.4, 0.3, 0.2, 0.1], size=2000)
    assert np.mean([drawn_by_class(draw) for draw in draws]) < 0.02


def test_weights_stand_halfway_between_the_source_and_equal_shares():
    codes, source = np.repeat([0, 1], 5), np.repeat([0, 1], [90, 10])
    weights = row_weights(codes, source, 2)
    shares = np.bincount(codes, weights) / weights.sum()
    np.testing.assert_allclose(shares, [0.7, 0.3])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 5))
def test_weights_are_positive_and_one_in_the_mean(labels, seed):
    source = np.random.default_rng(seed).integers(0, 4, 50)
    weights = row_weights(np.array(labels), source, 4)
    assert (weights > 0).all() and weights.mean() == pytest.approx(1)
    if not drawn_by_class(np.bincount(labels)):
        np.testing.assert_array_equal(weights, 1)


def test_five_of_each_do_not_make_a_blend_forget_that_one_class_is_most():
    rng, classes = np.random.default_rng(1), ("a", "b", "c", "d", "e", "f")
    names = np.array(classes, dtype=object)

    def rows(n):
        y = rng.choice(6, n, p=[0.65, 0.07, 0.07, 0.07, 0.07, 0.07])
        return (0.5 * np.eye(6)[y] + rng.normal(size=(n, 6))).astype("f4"), y

    (Xs, ys), (Xt, yt) = rows(400), rows(400)
    at = np.concatenate([np.flatnonzero(yt == c)[:5] for c in range(6)])
    domains = Domains(Labelled(Xs, names[ys]), Labelled(Xt[at], names[yt[at]], at=at), Xt)
    parts = make_folds(
        domains.target.y, task="classification", n_splits=5, n_repeats=2, random_state=0
    )

    def new_model():
        return FeatureModel(
            FeatureProcessor(), LogisticHead(), Temperature(), "classification", classes
        )

    found = stack(domains, new_model, parts)
    rest = np.setdiff1d(np.arange(400), at)
    assert (found.model.predict(Xt[rest]) == names[yt[rest]]).mean() > 0.6
    weight = {line.name: line.weight for line in found.lines}
    assert weight["target-only"] < 0.1 < weight["pooled"]
