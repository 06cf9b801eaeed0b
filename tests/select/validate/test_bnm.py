"""Batch nuclear norm: NumPy's nuclear norm, its bound, and a closed form for sure predictions."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.bnm import BNM


def score(P):
    n, K = P.shape
    one = np.zeros((n, 1))
    scene = Scene(one, np.zeros(n, int), one, K, np.ones(n), np.zeros((n, 1), int), P)
    return BNM().score(scene, Trial("t", P))


def test_it_is_numpys_nuclear_norm_over_the_bound():
    P = np.random.default_rng(0).dirichlet(np.ones(4), size=30)
    assert score(P) == pytest.approx(np.linalg.norm(P, "nuc") / np.sqrt(30 * 4))


def test_sure_rows_give_the_sum_of_the_roots_of_the_counts():
    counts = np.array([9, 4, 1])
    P = np.eye(3)[np.repeat(np.arange(3), counts)]
    assert score(P) == pytest.approx(np.sqrt(counts).sum() / np.sqrt(14 * 3))


def test_the_bound_is_reached_by_sure_and_balanced_rows_and_by_fewer_rows_than_classes():
    assert score(np.repeat(np.eye(3), 5, axis=0)) == pytest.approx(1)
    assert score(np.eye(5)[:2]) == pytest.approx(1)


def test_one_class_is_the_worst_of_the_sure_ones():
    sure = [np.eye(2)[(np.arange(10) < k).astype(int)] for k in (0, 1, 5)]
    assert score(sure[0]) < score(sure[1]) < score(sure[2])
