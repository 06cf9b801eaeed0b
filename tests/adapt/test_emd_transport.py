"""EMD transport: permuted copies, POT's own class, mini-batches, the shift it must fail under."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.emd_transport import EMDTransport
from isthmus.errors import UsageError

ot = pytest.importorskip("ot")


def classes(n, m, *, share=0.5, seed=0, d=4, gap=4.0):
    """Two classes; the target is moved by half the gap, with `share` of its rows in class 1."""
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 2, (np.arange(m) < share * m).astype(int)
    Xs = rng.normal(size=(n, d)) + gap * ys[:, None]
    return Xs, ys, rng.normal(size=(m, d)) + gap * yt[:, None] + gap / 2, yt


def accuracy(adapter, Xs, ys, Xt, yt):
    got = adapter.adapt(Xs, ys, Xt)
    model = LogisticRegression().fit(got.Xs, ys, sample_weight=got.weights)
    return model.score(got.map_target(Xt), yt)


def test_a_moved_and_permuted_copy_recovers_the_permutation():
    rng = np.random.default_rng(0)
    Xs = rng.normal(size=(80, 3))
    order = rng.permutation(80)
    Xt = (Xs + 0.5)[order]
    got = EMDTransport().adapt(Xs, np.zeros(80), Xt)
    np.testing.assert_allclose(got.Xs, Xs + 0.5, atol=1e-10)
    assert got.info["solver"] == "exact" and got.troubles == ()


def test_equals_the_transport_class_of_pot():
    Xs, ys, Xt, _ = classes(60, 45)
    theirs = ot.da.EMDTransport().fit(Xs=Xs, Xt=Xt).transform(Xs=Xs)
    np.testing.assert_allclose(EMDTransport().adapt(Xs, ys, Xt).Xs, theirs, atol=1e-10)


def test_a_simplex_that_is_cut_short_is_said():
    Xs, ys, Xt, _ = classes(60, 45)
    (trouble,) = EMDTransport(max_iter=3).adapt(Xs, ys, Xt).troubles
    assert trouble.code == "not-converged" and "max_iter" in trouble.remedy


def test_mini_batches_are_as_good_deterministic_and_free_of_the_order_of_rows():
    Xs, ys, Xt, yt = classes(600, 500)
    exact, small = EMDTransport(), EMDTransport(solver="approximate", batch=100, rounds=1)
    assert accuracy(small, Xs, ys, Xt, yt) == pytest.approx(
        accuracy(exact, Xs, ys, Xt, yt), abs=0.005
    )
    a = small.adapt(Xs, ys, Xt)
    assert a.info["solver"] == "mini-batch" and a.info["plans"] == 6
    rng = np.random.default_rng(1)
    p, q = rng.permutation(600), rng.permutation(500)
    b = small.adapt(Xs[p], ys[p], Xt[q])
    np.testing.assert_allclose(a.Xs[p], b.Xs, atol=1e-9)


def test_beyond_max_exact_mini_batches_take_over_and_sides_may_differ_in_size():
    Xs, ys, Xt, _ = classes(90, 7)
    got = EMDTransport(max_exact=20, batch=10, rounds=2).adapt(Xs, ys, Xt)
    assert got.info == got.info | {"solver": "mini-batch", "plans": 18}
    got = EMDTransport(max_exact=20, batch=10, rounds=3).adapt(Xt, ys[:7], Xs)
    assert got.info["plans"] == 3
    low, high = Xs.min(axis=0), Xs.max(axis=0)
    assert ((got.Xs >= low) & (got.Xs <= high)).all()  # images are means of target rows


def test_helps_under_a_shift_and_fails_under_label_shift():
    def source_only(Xs, ys, Xt, yt):
        return LogisticRegression().fit(Xs, ys).score(Xt, yt)

    moved = classes(200, 200)
    assert source_only(*moved) < 0.8 < 0.98 < accuracy(EMDTransport(), *moved)
    tilted = classes(200, 200, share=0.1, gap=4.0)
    Xs, ys, Xt, yt = tilted
    still = Xs, ys, Xt - 2.0, yt  # the mean shift taken away: only the class shares differ
    assert source_only(*still) > 0.98 > accuracy(EMDTransport(), *still) + 0.1


def test_wrong_options_are_refused():
    Xs, ys, Xt, _ = classes(6, 6)
    with pytest.raises(UsageError, match="approximate"):
        EMDTransport(solver="fast").adapt(Xs, ys, Xt)
    with pytest.raises(UsageError, match="batch"):
        EMDTransport(batch=0).adapt(Xs, ys, Xt)
