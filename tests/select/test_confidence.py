"""Temperatures of candidates: what is sure and wrong is cooled, what is right and modest is not."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.confidence import GRID, Confidence, Spoken, heated, spoken


def saying(right, sure, n=60, seed=0):
    """Probabilities of two classes: right that often, and that sure of every row."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    guess = np.where(rng.permutation(n) < right * n, truth, 1 - truth)
    p = np.full((n, 2), 1 - sure)
    p[np.arange(n), guess] = sure
    return Spoken(p[None], np.ones(1)), truth


def believed(held, tests, truth):
    return Confidence(held, tests, truth, np.ones(len(truth)))


def test_confidence_becomes_what_the_answers_deserve():
    (proud, truth), (shy, _) = saying(0.7, 0.99), saying(0.9, 0.6, seed=1)
    every = np.arange(60)
    said = believed([[proud], [shy]], [every], truth)
    (hot, cold), logs = said.temperatures(every)
    assert hot > 2 and cold < 0.7 and 1 in GRID
    own = np.log(said.answers(0, np.array([hot, cold]))[:, every, truth]).sum(axis=1)
    np.testing.assert_allclose(logs, own)
    assert logs[1] > logs[0]


def test_few_rows_move_it_little():
    proud, truth = saying(0.5, 0.99)
    few = believed([[proud]], [np.arange(60)], truth).temperatures(np.arange(4))[0]
    many = believed([[proud]], [np.arange(60)], truth).temperatures(np.arange(60))[0]
    assert 1 <= few[0] < many[0]
    nothing = believed([[]], [], truth).temperatures(np.arange(60))
    assert nothing[0][0] == 1 and nothing[1][0] == 0


def test_a_row_held_out_twice_counts_once():
    proud, truth = saying(0.7, 0.99)
    once = believed([[proud]], [np.arange(60)], truth).temperatures(np.arange(60))
    twice = believed([[proud] * 2], [np.arange(60)] * 2, truth).temperatures(np.arange(60))
    np.testing.assert_allclose(once, twice)


def test_a_row_of_weight_two_counts_like_two():
    proud, truth = saying(0.7, 0.99)
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    both = np.concatenate([np.arange(60), np.arange(20)])
    doubled = believed(
        [[Spoken(proud.parts[:, both], proud.weights)]], [np.arange(80)], truth[both]
    )
    heavy = Confidence([[proud]], [np.arange(60)], truth, weights)
    np.testing.assert_allclose(
        doubled.temperatures(np.arange(80)), heavy.temperatures(np.arange(60))
    )


@pytest.mark.parametrize("ratio", [None, np.array([0.3, -0.3, 0.0])])
def test_a_heated_model_says_the_power_of_its_probabilities(ratio):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = (rng.normal(size=(60, 4)) + np.eye(4)[y]).astype("f4")
    names = ("ant", "bee", "cat")
    model = FeatureModel(None, LogisticHead(C=1.0), None, "classification", names)
    model.fit(X, np.array(names, dtype=object)[y])
    model.log_ratio_ = ratio
    plain = model.predict_proba(X)
    hot = heated(model, 2.0)
    want = plain**0.5 / (plain**0.5).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(hot.predict_proba(X), want)
    np.testing.assert_allclose(spoken(model, X).at(2.0), want)
    np.testing.assert_array_equal(model.predict_proba(X), plain)  # it is left as it was
    again = FeatureModel.from_state(*hot.to_state())
    np.testing.assert_array_equal(again.predict_proba(X), hot.predict_proba(X))
    twice = heated(hot, 3.0)
    np.testing.assert_allclose(twice.predict_proba(X), heated(model, 6.0).predict_proba(X))
