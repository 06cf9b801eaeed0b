"""Agreement with the consensus: counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.select.validate.agreement import Agreement
from isthmus.select.validate.base import Scene, Trial

P = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.45, 0.55]])
C = np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0.4, 0.6]])


def score(P, C, **params):
    n, K = P.shape
    one = np.zeros((n, 1))
    scene = Scene(one, np.zeros(n, int), one, K, np.ones(n), np.zeros((n, 1), int), C)
    return Agreement(**params).score(scene, Trial("t", P))


def test_three_of_four_rows_agree():
    assert score(P, C) == 0.75


def test_the_overlap_is_one_minus_half_the_absolute_difference():
    assert score(P, C, soft=True) == pytest.approx(1 - np.abs(P - C).sum(axis=1).mean() / 2)


def test_with_itself_it_is_one():
    assert score(C, C) == score(C, C, soft=True) == 1


def test_a_consensus_of_other_rows_is_refused():
    with pytest.raises(DataError, match="consensus"):
        score(P, C[:3])
