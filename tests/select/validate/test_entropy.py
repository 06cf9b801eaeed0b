"""Negative entropy: known values, and SciPy's entropy row by row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.entropy import Entropy


def score(P):
    n, K = P.shape
    one = np.zeros((n, 1))
    scene = Scene(one, np.zeros(n, int), one, K, np.ones(n), np.zeros((n, 1), int), P)
    return Entropy().score(scene, Trial("t", P))


def test_it_is_minus_the_mean_entropy_in_units_of_log_K():
    P = np.random.default_rng(0).dirichlet(np.ones(5), size=40)
    assert score(P) == pytest.approx(-np.mean([entropy(p, base=5) for p in P]))


def test_certain_is_zero_and_uniform_is_minus_one():
    assert score(np.eye(4)) == 0
    assert score(np.full((6, 4), 0.25)) == pytest.approx(-1)
