"""MixVal: pairs by hand, linear candidates, and a boundary that runs through a class."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.mixval import MixVal, pairs


def scene_of(X, K=2):
    n = len(X)
    P = np.full((n, K), 1 / K)
    return Scene(X, np.zeros(n, int), X, K, np.ones(n), np.zeros((n, 1), int), P)


def sign(X):
    return np.eye(2)[(X[:, 0] > 0).astype(int)]


def test_pairs_by_hand():
    codes = np.array([0, 1, 0, 1, 2])
    first, second, inter = pairs(codes, np.array([2, 0, 1, 3, 4]))
    found = [(int(i), int(j), bool(k)) for i, j, k in zip(first, second, inter, strict=True)]
    assert found == [
        (0, 1, True),
        (3, 4, True),
        (4, 2, True),
        (2, 0, False),
        (0, 2, False),
        (1, 3, False),
        (3, 1, False),
    ]


def test_two_points_a_class_have_a_value_that_can_be_counted():
    # mixtures of -1 and 1 at 0.55 keep the sign of the first; of -1 and 3 they do not
    X = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    assert MixVal().score(scene_of(X), Trial("t", sign(X), predict=sign)) == 1
    far = np.array([[-1.0], [-1.0], [3.0], [3.0]])
    # inter-cluster: from -1 the mixture 0.8 changes sides, from 3 it stays: pairs come in turns
    assert MixVal().score(scene_of(far), Trial("t", sign(far), predict=sign)) == 0.75


def test_a_linear_candidate_never_fails_within_a_class():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    P = sign(X)
    codes = P.argmax(axis=1)
    first, second, inter = pairs(codes, rng.permutation(200))
    mixed = 0.55 * X[first] + 0.45 * X[second]
    assert (sign(mixed).argmax(axis=1) == codes[first])[~inter].all()


def test_a_boundary_between_the_clusters_beats_one_through_them():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 2)) * 0.3 + np.where(np.arange(300) % 2, 2, -2)[:, None] * [1, 0]

    def through(Z):
        return np.eye(2)[(Z[:, 1] > 0).astype(int)]

    scene = scene_of(X)
    good = MixVal().score(scene, Trial("t", sign(X), predict=sign))
    bad = MixVal().score(scene, Trial("t", through(X), predict=through))
    assert good > 0.9 > bad + 0.05


def test_only_most_rows_are_asked():
    X = np.random.default_rng(2).normal(size=(500, 2))
    asked = []
    MixVal(most=100).score(
        scene_of(X), Trial("t", sign(X), predict=lambda Z: asked.append(len(Z)) or sign(Z))
    )
    assert 100 < asked[0] <= 200


def test_refusals():
    X = np.array([[-1.0], [1.0], [2.0]])
    with pytest.raises(DataError, match="one class only"):
        MixVal().score(scene_of(X), Trial("t", np.eye(2)[[0, 0, 0]], predict=sign))
    with pytest.raises(DataError, match="twice"):
        MixVal().score(scene_of(X, 3), Trial("t", np.eye(3), predict=lambda Z: np.eye(3)[:1]))
    with pytest.raises(UsageError, match="mix"):
        MixVal(mix=0.5).score(scene_of(X), Trial("t", sign(X), predict=sign))
