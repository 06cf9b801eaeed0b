"""CO-optimal transport: permuted rows and features, labels, subsets, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.adapt.co_optimal_transport import CoOptimalTransport
from isthmus.errors import DataError, UsageError

ot = pytest.importorskip("ot")


def spaces(n=60, d=8, seed=0):
    """Two classes; the target has the rows and the columns in another order and scale."""
    rng = np.random.default_rng(seed)
    ys = np.arange(n) % 2
    Xs = rng.gamma(np.linspace(0.5, 4, d), size=(n, d)) + 3 * ys[:, None] * (np.arange(d) < 3)
    rows, columns = rng.permutation(n), rng.permutation(d)
    return Xs, np.array(["a", "b"])[ys], (5 * Xs + 1)[rows][:, columns], rows, columns


def test_permuted_rows_and_features_are_recovered():
    Xs, ys, Xt, rows, columns = spaces()
    model = CoOptimalTransport().fit_domains(Xs, ys, Xt)
    assert model.info_["cost"] == pytest.approx(0, abs=1e-9) and model.troubles_ == ()
    np.testing.assert_array_equal(model.plan_.argmax(axis=0), rows)
    np.testing.assert_array_equal(model.feature_plan_.argmax(axis=0), columns)
    np.testing.assert_array_equal(model.labels_, ys[rows])


def test_the_cost_is_that_of_the_definition():
    Xs, ys, Xt, _, _ = spaces(20)
    Xt = Xt[:15, :5]
    model = CoOptimalTransport().fit_domains(Xs, ys, Xt)
    A, B = ((X - X.mean(0)) / X.std(0) for X in (Xs, Xt))
    gaps = (A[:, None, :, None] - B[None, :, None, :]) ** 2
    want = np.einsum("ijkl,ij,kl->", gaps, model.plan_, model.feature_plan_)
    assert model.info_["cost"] == pytest.approx(want, rel=1e-6)


def test_few_target_labels_forbid_joining_different_classes():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(60) % 2, np.arange(50) % 2
    Xs = rng.normal(size=(60, 6)) + 3 * ys[:, None] * (np.arange(6) < 3)
    Xt = rng.normal(size=(50, 9)) - 3 * yt[:, None] * (np.arange(9) < 4)  # the sign is turned
    few = [int(c) if i < 10 else None for i, c in enumerate(yt)]
    model = CoOptimalTransport(trade_off=5).fit_domains(Xs, ys, Xt, few)
    joined = model.plan_[:, :10] * (ys[:, None] != yt[:10])
    assert joined.sum() < 0.02
    np.testing.assert_array_equal(model.labels_[:10], yt[:10])


def test_larger_sets_are_matched_by_a_subset_and_predicted_by_the_classifier():
    Xs, ys, Xt, rows, _ = spaces(300)
    model = CoOptimalTransport(max_exact=80).fit_domains(Xs, ys, Xt)
    assert model.info_["solver"] == "subset" and model.plan_.shape == (80, 80)
    assert model.score(Xt, ys[rows]) > 0.9


def test_what_it_cannot_use_is_refused_or_said():
    Xs, ys, Xt, _, _ = spaces(20)
    with pytest.raises(DataError, match="shape"):
        CoOptimalTransport().fit_domains(Xs, ys, Xt[:0])
    with pytest.raises(UsageError, match="trade_off"):
        CoOptimalTransport(trade_off=0).fit_domains(Xs, ys, Xt)
    (trouble,) = CoOptimalTransport(max_iter=1).fit_domains(Xs, ys, Xt).troubles_
    assert trouble.code == "not-converged" and "max_iter" in trouble.remedy
