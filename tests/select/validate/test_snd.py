"""Soft neighbourhood density: naive loops, blocks, and a closed form for two tight groups."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.select.validate import snd
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.snd import SND


def score(P, **params):
    n, K = P.shape
    X = np.arange(n, dtype=float)[:, None]
    scene = Scene(X, np.zeros(n, int), X, K, np.ones(n), np.zeros((n, 1), int), P)
    return SND(**params).score(scene, Trial("t", P))


def naive(P, temperature=0.05):
    P, found = P / np.linalg.norm(P, axis=1, keepdims=True), []
    for i in range(len(P)):
        near = np.array([P[i] @ P[j] / temperature for j in range(len(P)) if j != i])
        q = np.exp(near - near.max())
        q /= q.sum()
        found.append(-sum(v * np.log(v) for v in q if v > 0))
    return np.mean(found) / np.log(len(P) - 1)


def test_it_is_the_definition_row_by_row():
    P = np.random.default_rng(0).dirichlet(np.ones(3), size=25)
    assert score(P) == pytest.approx(naive(P))
    assert score(P, temperature=0.3) == pytest.approx(naive(P, 0.3))


def test_blocks_change_nothing(monkeypatch):
    P = np.random.default_rng(1).dirichlet(np.ones(3), size=25)
    whole = score(P)
    monkeypatch.setattr(snd, "BLOCK", 60)
    assert score(P) == pytest.approx(whole)


def test_g_groups_of_m_sure_rows_have_the_entropy_of_m_minus_one():
    P = np.repeat(np.eye(4), 6, axis=0)  # exp(-20) is all that other groups get
    assert score(P) == pytest.approx(np.log(5) / np.log(23), abs=1e-6)
    assert score(np.tile([1.0, 0.0], (9, 1))) == pytest.approx(1)


def test_beyond_most_rows_are_drawn_the_same_for_all_and_near_the_whole():
    P = np.random.default_rng(2).dirichlet(np.ones(3), size=900)
    # one neighbour in three is as near in both: the entropy falls with log n alone
    assert score(P, most=450) == score(P, most=450)
    assert score(P, most=450) == pytest.approx(score(P), abs=0.03)


def test_refusals():
    with pytest.raises(DataError, match="three"):
        score(np.eye(2))
    with pytest.raises(UsageError, match="temperature"):
        score(np.eye(3), temperature=0)
