"""MaNo: the norm itself and its two ends."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import UsageError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.mano import MaNo


def score(P, **params):
    n, K = P.shape
    one = np.zeros((n, 1))
    scene = Scene(one, np.zeros(n, int), one, K, np.ones(n), np.zeros((n, 1), int), P)
    return MaNo(**params).score(scene, Trial("t", P))


@pytest.mark.parametrize("order", [2, 4])
def test_it_is_numpys_norm_of_the_flattened_matrix(order):
    P = np.random.default_rng(0).dirichlet(np.ones(5), size=30)
    assert score(P, order=order) == pytest.approx(
        np.linalg.norm(P.ravel(), order) / P.size ** (1 / order)
    )


def test_uniform_is_one_over_K_and_sure_is_the_root_of_that():
    assert score(np.full((7, 5), 0.2)) == pytest.approx(0.2)
    assert score(np.eye(5)) == pytest.approx(5 ** (-1 / 4))


def test_an_order_below_one_is_no_norm():
    with pytest.raises(UsageError, match="order"):
        score(np.eye(2), order=0.5)
