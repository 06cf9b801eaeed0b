"""Nearest-neighbour weights against counting with scikit-learn, and its inverted lists."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from isthmus.adapt.nearest_neighbor_weights import NearestNeighborWeights


def domains(n=500, d=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), 0.7 * rng.normal(size=(n + 50, d)) + 0.5


def test_counts_are_those_of_brute_force():
    Xs, Xt = domains()
    near = NearestNeighbors(n_neighbors=1).fit(Xs).kneighbors(Xt, return_distance=False)[:, 0]
    want = np.bincount(near, minlength=len(Xs)) + 1.0
    got = NearestNeighborWeights(clip=1e9).adapt(Xs, None, Xt)
    np.testing.assert_allclose(got.weights, want / want.mean())
    assert got.info["empty_cells"] == (want == 1).sum()


def test_inverted_lists_that_look_everywhere_are_exact():
    Xs, Xt = domains()
    a = NearestNeighborWeights().adapt(Xs, None, Xt)
    b = NearestNeighborWeights(solver="approximate", n_probe=10**6).adapt(Xs, None, Xt)
    np.testing.assert_array_equal(a.weights, b.weights)


def test_a_few_lists_find_nearly_all_neighbours():
    Xs, Xt = domains()
    a = NearestNeighborWeights(clip=1e9).adapt(Xs, None, Xt)
    b = NearestNeighborWeights(clip=1e9, solver="approximate", n_probe=4).adapt(Xs, None, Xt)
    assert np.abs(a.weights - b.weights).sum() / a.weights.sum() < 0.05


def test_equal_domains_get_equal_weights():
    Xs, _ = domains()
    np.testing.assert_allclose(NearestNeighborWeights().adapt(Xs, None, Xs).weights, 1.0)


def test_one_source_row_takes_all_and_it_is_said():
    Xs = np.r_[np.zeros((1, 2)), 100 + np.arange(40.0).reshape(20, 2)]
    got = NearestNeighborWeights(0.0, clip=1e9).adapt(Xs, None, np.zeros((9, 2)))
    assert got.weights[0] == 21 and got.weights[1:].sum() == 0
    assert got.troubles[0].code == "low-overlap"
