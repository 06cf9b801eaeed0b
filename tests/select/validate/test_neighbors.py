"""Neighbour agreement: kappa-like identity, Moran's I by its definition, chance is zero."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.neighbors import Neighbors


def score(P, near, **params):
    n, K = P.shape
    one = np.zeros((n, 1))
    scene = Scene(one, np.zeros(n, int), one, K, np.ones(n), np.asarray(near), P)
    return Neighbors(**params).score(scene, Trial("t", P))


def test_hard_is_the_share_of_agreeing_pairs_beyond_chance():
    rng = np.random.default_rng(0)
    P, near = rng.dirichlet(np.ones(3), size=50), rng.integers(0, 50, size=(50, 4))
    codes = P.argmax(axis=1)
    agree = np.mean([codes[i] == codes[j] for i in range(50) for j in near[i]])
    chance = sum(np.mean(codes == k) ** 2 for k in range(3))
    assert score(P, near) == pytest.approx((agree - chance) / (1 - chance))


def test_soft_is_morans_i_on_a_ring():
    # each row has both of its neighbours, so every row is a neighbour equally often
    rng = np.random.default_rng(1)
    P = rng.dirichlet(np.ones(3), size=30)
    near = np.stack([np.roll(np.arange(30), 1), np.roll(np.arange(30), -1)], axis=1)
    W = np.zeros((30, 30))
    W[np.arange(30)[:, None], near] = 1
    Z = P - P.mean(axis=0)
    moran = 30 / W.sum() * sum(z @ W @ z for z in Z.T) / (Z**2).sum()
    assert score(P, near, soft=True) == pytest.approx(moran)


def test_groups_are_one_and_random_neighbours_about_zero():
    rng = np.random.default_rng(2)
    codes = np.arange(400) % 2
    P = np.eye(2)[codes]
    inside = np.stack([rng.choice(np.flatnonzero(codes == c), 6) for c in codes])
    assert score(P, inside) == pytest.approx(1)
    assert abs(score(P, rng.integers(0, 400, size=(400, 6)))) < 0.06
    assert score(P, (np.arange(400)[:, None] + [1, 3]) % 400) == pytest.approx(-1)


def test_all_alike_is_refused_and_so_is_a_graph_of_other_rows():
    near = np.zeros((5, 2), int)
    with pytest.raises(DataError, match="alike"):
        score(np.tile([0.9, 0.1], (5, 1)), near)
    with pytest.raises(DataError, match="alike"):
        score(np.tile([0.9, 0.1], (5, 1)), near, soft=True)
    for graph in (near[:4], near + 5, near[:, :0], near - 1):
        with pytest.raises(DataError, match="graph"):
            score(np.eye(2)[np.arange(5) % 2], graph)
