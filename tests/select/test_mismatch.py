"""Partial, open and universal settings on Gaussian classes whose true mismatch is known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import NearestNeighbors

from isthmus.errors import DataError, UsageError
from isthmus.select.mismatch import class_signs, doubt, mismatch
from isthmus.select.validate.base import Scene

K = 10


@lru_cache
def world(source, target, *, n=300, shift=0.0, noise=1.0, seed=0, far=3.5):
    """Rows of the classes named on each side, and a forest's view of both."""
    rng = np.random.default_rng(seed)
    centres = far * rng.normal(size=(K, 6))
    names = np.array(sorted(source))
    ys = rng.permutation(np.arange(n) % len(names))
    yt = rng.choice(np.array(sorted(target)), n)
    step = shift * rng.normal(size=6)
    Xs = centres[names[ys]] + rng.normal(size=(n, 6))
    Xt = centres[yt] + noise * rng.normal(size=(n, 6)) + step
    model = ExtraTreesClassifier(25, min_samples_leaf=2, random_state=0)
    P = cross_val_predict(model, Xs, ys, cv=2, method="predict_proba")
    Q = model.fit(Xs, ys).predict_proba(Xt)
    look = NearestNeighbors(n_neighbors=10).fit(Xt)
    near = look.kneighbors(return_distance=False)
    return Scene(Xs, ys, Xt, len(names), np.ones(n), near, Q), P, ~np.isin(yt, names)


ALL = frozenset(range(K))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shift, noise", [(0.0, 1.0), (0.8, 1.0), (0.3, 2.0)])
def test_equal_classes_raise_no_alarm(seed, shift, noise):
    scene, P, _ = world(ALL, ALL, shift=shift, noise=noise, seed=seed)
    found = mismatch(scene, P)
    assert not found.found and not found.abstain.any()
    assert (found.novel_share.low, found.novel_share.high) == (0.0, 1.0)
    assert any("would leave none" in note for note in found.notes)


@pytest.mark.parametrize("seed", range(2))
def test_absent_classes_are_found_and_weighted_down(seed):
    gone = [2, 5, 7]
    scene, P, _ = world(ALL, ALL - frozenset(gone), shift=0.3, seed=seed)
    found = mismatch(scene, P, setting="partial")
    assert set(found.absent) <= set(gone) and len(found.absent) >= 2
    kept = np.setdiff1d(np.arange(K), gone)
    assert found.presence[kept].min() > found.presence[gone].max()
    assert not found.abstain.any()
    assert found.shares[:, 0].sum() == pytest.approx(1)
    assert np.all(found.shares[gone, 0] < 0.05)
    truth = 1 / len(kept)
    inside = (found.shares[kept, 1] - 0.02 <= truth) & (truth <= found.shares[kept, 2] + 0.02)
    assert inside.mean() > 0.5


@pytest.mark.parametrize("seed", range(2))
def test_novel_rows_are_marked_at_a_stated_rate(seed):
    scene, P, novel = world(ALL - {6, 7, 8, 9}, ALL, shift=0.3, seed=seed)
    found = mismatch(scene, P, setting="open")
    assert novel[found.abstain].mean() > 0.9  # marked rows are novel
    assert found.abstain[novel].mean() > 0.6
    assert found.novelty[novel].mean() > found.novelty[~novel].mean() + 0.2
    assert found.novel_share.low <= novel.mean() <= found.novel_share.high
    assert found.false_alarm <= 0.05
    assert found.absent == ()


def test_universal_finds_both():
    scene, P, novel = world(ALL - {7, 8, 9}, ALL - {0, 1}, seed=1)
    found = mismatch(scene, P)
    assert found.absent == (1,)  # novel rows are taken for class 0, which looks present
    assert found.presence[2:].min() > 0.9
    assert novel[found.abstain].mean() > 0.9


def test_novel_rows_on_a_known_class_cannot_be_told():
    """The docstring's limit: a novel class in the place of a known one leaves no sign."""
    scene, P, _ = world(ALL, ALL)
    found = mismatch(scene, P, setting="open")  # any of these rows may well be of a new class
    assert not found.abstain.any()
    assert "cannot be told" in found.novel_share.how


def test_a_target_without_any_confident_row_is_distance_not_absence():
    scene, P, _ = world(ALL, ALL)
    flat = np.full_like(scene.consensus, 1 / K)
    blank = Scene(scene.Xs, scene.ys, scene.Xt, K, scene.weights, scene.neighbors, flat)
    found = mismatch(blank, P, setting="partial")
    assert found.absent == ()
    assert "cannot be told from distance" in found.notes[0]


def test_few_rows_are_not_told():
    scene, P, _ = world(ALL, ALL, n=39)
    found = mismatch(scene, P)
    assert not found.found
    assert np.all(found.presence == 0.5)
    assert any("too few rows to tell" in note for note in found.notes)
    assert any("not looked for" in note for note in found.notes)


def test_signs_and_doubt_by_hand():
    P = np.array([[1.0, 0.0], [0.8, 0.2], [0.0, 1.0], [0.2, 0.8]] * 3)
    y = np.array([0, 0, 1, 1] * 3)
    Q = np.array([[0.9, 0.1]] * 12)
    signs = class_signs(P, y, Q, 3)
    assert signs[:2, 0] == pytest.approx([1.8, 0.2])
    assert signs[:2, 1] == pytest.approx([0.9, 0.1])
    assert np.isnan(signs[2]).all()
    u = doubt(np.array([[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]]), np.array([[1], [2], [0]]))
    assert u == pytest.approx([0.5, 0.0, 0.5])


def test_order_of_target_rows_does_not_matter():
    scene, P, _ = world(ALL - {6, 7, 8, 9}, ALL, seed=2)
    order = np.random.default_rng(5).permutation(len(scene.Xt))
    near = np.argsort(order)[scene.neighbors[order]]
    other = Scene(
        scene.Xs, scene.ys, scene.Xt[order], 6, scene.weights, near, scene.consensus[order]
    )
    a, b = mismatch(scene, P), mismatch(other, P)
    assert np.array_equal(a.abstain[order], b.abstain)
    assert a.presence == pytest.approx(b.presence)


def test_refusals():
    scene, P, _ = world(ALL, ALL)
    with pytest.raises(UsageError, match="no setting"):
        mismatch(scene, P, setting="closed")
    with pytest.raises(DataError, match="source consensus of shape"):
        mismatch(scene, P[:-1])
    with pytest.raises(DataError, match="9 held-out"):
        mismatch(scene, np.where(np.arange(len(P))[:, None] < 9, P, np.nan))
