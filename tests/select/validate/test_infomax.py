"""Information maximisation: ends of its range, and scikit-learn's mutual information."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.infomax import InfoMax


def score(P):
    n, K = P.shape
    one = np.zeros((n, 1))
    scene = Scene(one, np.zeros(n, int), one, K, np.ones(n), np.zeros((n, 1), int), P)
    return InfoMax().score(scene, Trial("t", P))


def test_it_is_the_mutual_information_of_row_and_class():
    # rows as joint distribution: p(row) = 1/n, p(class | row) = P
    P = np.array([[0.5, 0.25, 0.25], [0.0, 0.75, 0.25], [1.0, 0.0, 0.0]])
    counts = (P * 4).astype(int)
    rows = np.repeat(np.arange(3), 4)
    classes = np.concatenate([np.repeat(np.arange(3), c) for c in counts])
    assert score(P) == pytest.approx(mutual_info_score(rows, classes) / np.log(3))


def test_one_class_and_ignorance_are_zero_and_sure_balance_is_one():
    assert score(np.tile([1.0, 0, 0], (5, 1))) == pytest.approx(0)
    assert score(np.full((5, 3), 1 / 3)) == pytest.approx(0, abs=1e-12)
    assert score(np.repeat(np.eye(3), 2, axis=0)) == pytest.approx(1)


def test_a_sure_tilted_answer_has_the_entropy_of_its_shares():
    P = np.eye(2)[np.array([0] * 9 + [1])]
    assert score(P) == pytest.approx(entropy([0.9, 0.1], base=2))
