"""Gromov-Wasserstein: isometric copies in another dimension, labels, subsets, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from isthmus.adapt.gromov_wasserstein import GromovWasserstein
from isthmus.errors import DataError, UsageError

ot = pytest.importorskip("ot")


def spaces(n=60, seed=0, spread=0.4):
    """Three clusters at unequal distances, 2-d; their turned and moved image in 5-d, permuted."""
    rng = np.random.default_rng(seed)
    ys = rng.integers(0, 3, size=n)
    Xs = rng.normal(size=(n, 2)) * spread + np.array([[0.0, 0], [3, 0], [0, 6]])[ys]
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    order = rng.permutation(n)
    return Xs, np.array(["a", "b", "c"])[ys], (Xs @ basis + 4)[order], order


def test_an_isometric_copy_in_another_dimension_recovers_the_permutation():
    Xs, ys, Xt, order = spaces()
    model = GromovWasserstein().fit_domains(Xs, ys, Xt)
    assert model.info_["cost"] == pytest.approx(0, abs=1e-9) and model.troubles_ == ()
    np.testing.assert_array_equal(model.plan_.argmax(axis=0), order)
    np.testing.assert_array_equal(model.labels_, ys[order])
    assert model.score(Xt, ys[order]) == 1.0


def test_the_cost_is_that_of_the_definition():
    Xs, ys, Xt, _ = spaces(12)
    Xt = Xt + np.random.default_rng(1).normal(size=Xt.shape)
    model = GromovWasserstein().fit_domains(Xs, ys, Xt)
    Ds, Dt = (ot.dist(X, X, metric="euclidean") for X in (Xs, Xt))
    Ds, Dt = Ds / np.median(Ds), Dt / np.median(Dt)
    gaps = (Ds[:, None, :, None] - Dt[None, :, None, :]) ** 2
    want = np.einsum("ijkl,ij,kl->", gaps, model.plan_, model.plan_)
    assert model.info_["cost"] == pytest.approx(want, rel=1e-6)


def test_alike_clusters_are_a_guess_that_a_few_target_labels_settle():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(40) % 2, np.arange(40) % 2
    Xs = rng.normal(size=(40, 2)) + 8 * ys[:, None]
    for flip in (1, -1):  # the mirrored target has the same distances
        Xt = flip * (rng.normal(size=(40, 3)) + 8 * yt[:, None])
        few = [int(c) if i < 4 else None for i, c in enumerate(yt)]
        model = GromovWasserstein().fit_domains(Xs, ys, Xt, few)
        assert model.score(Xt, yt) > 0.95
        swapped = [1 - c if c is not None else None for c in few]
        model = GromovWasserstein().fit_domains(Xs, ys, Xt, swapped)
        assert model.score(Xt, 1 - yt) > 0.9


def test_larger_sets_are_matched_by_a_subset_and_predicted_by_the_classifier():
    Xs, ys, Xt, order = spaces(300)
    model = GromovWasserstein(max_exact=60, random_state=1).fit_domains(Xs, ys, Xt)
    assert model.info_["solver"] == "subset" and model.plan_.shape == (60, 60)
    assert model.score(Xt, ys[order]) > 0.95
    again = clone(model).fit_domains(Xs, ys, Xt)
    np.testing.assert_array_equal(again.plan_, model.plan_)
    proba = model.predict_proba(Xt[:5])
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_what_it_cannot_use_is_refused_or_said():
    Xs, ys, Xt, _ = spaces(20)
    with pytest.raises(DataError, match="equal"):
        GromovWasserstein().fit_domains(Xs, ys, np.ones((5, 3)))
    with pytest.raises(DataError, match="NaN"):
        GromovWasserstein().fit_domains(Xs, ys, np.where(Xt > 4, np.nan, Xt))
    with pytest.raises(DataError, match="no source class"):
        GromovWasserstein().fit_domains(Xs, ys, Xt, ["z"] * 20)
    with pytest.raises(UsageError, match="trade_off"):
        GromovWasserstein(trade_off=1).fit_domains(Xs, ys, Xt)
    one = GromovWasserstein().fit_domains(Xs, np.full(20, "a"), Xt)
    assert one.troubles_[-1].code == "degenerate" and set(one.predict(Xt)) == {"a"}
