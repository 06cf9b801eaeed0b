"""Relational propagation: scikit-learn's LabelSpreading on the same graph, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_moons
from sklearn.neighbors import KNeighborsClassifier, kneighbors_graph
from sklearn.semi_supervised import LabelSpreading

from isthmus.adapt.neighbor_graph import nearest, nearest_in_lists, propagate
from isthmus.adapt.relational_propagation import RelationalPropagation
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


def moons(n=300, m=300, turn=0.5, seed=0):
    """Two moons; the target is turned by `turn` radians."""
    Xs, ys = make_moons(n, noise=0.06, random_state=seed)
    Xt, yt = make_moons(m, noise=0.06, random_state=seed + 1)
    Xs, Xt = Xs - [0.5, 0.25], Xt - [0.5, 0.25]
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    names = np.array(["down", "up"])
    return Xs, names[ys], Xt @ spin.T, names[yt]


def fit(model, Xs, ys, Xt, known=None):
    X, y, domain, labeled = stack_domains(Xs, ys.astype(object), Xt, known)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def test_equals_label_spreading_on_the_same_graph():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = np.where(np.arange(90) < 50, rng.integers(0, 3, 90), -1)
    W = kneighbors_graph(X, 6, mode="distance")
    W.data = np.exp(-(W.data**2))
    W = sparse.csr_array(W.maximum(W.T))
    seeds = np.zeros((90, 3))
    seeds[np.arange(50), y[:50]] = 1
    F, residual, steps = propagate(W, seeds, 0.8, tol=1e-10, max_iter=500)
    theirs = LabelSpreading(
        kernel=lambda A, B: W.toarray(), alpha=0.8, max_iter=10_000, tol=1e-12
    ).fit(X, y)
    got = F / F.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, theirs.label_distributions_, atol=1e-8)
    assert residual <= 1e-10 and steps < 60


@pytest.mark.parametrize("balance", [False, True])
def test_the_closed_form_is_solved_by_the_method_itself(balance):
    Xs, ys, Xt, _ = moons(60, 50)
    model = fit(
        RelationalPropagation(4, n_cross=2, alpha=0.9, balance=balance, tol=1e-12), Xs, ys, Xt
    )
    X = np.concatenate([Xs, Xt])
    d = ((X[:, None] - X[None]) ** 2).sum(2)
    W = np.zeros((110, 110))
    for part in (slice(0, 60), slice(60, 110)):
        own = d[part, part].copy()
        np.fill_diagonal(own, np.inf)
        least = np.sort(own, axis=1)[:, 3]
        near, unit = own <= least[:, None], np.sqrt(np.outer(least, least))
        block = np.where(near | near.T, np.exp(-np.minimum(own / unit, 50)), 0)
        W[part, part] = block
    cross = d[60:, :60]
    reach = np.sort(cross, axis=1)[:, 1:2]
    W[60:, :60] = np.where(cross <= reach, np.exp(-cross / reach), 0)
    W[:60, 60:] = W[60:, :60].T
    root = W.sum(1) ** -0.5
    Y = np.zeros((110, 2))
    Y[np.arange(60), np.searchsorted(model.classes_, ys)] = 1
    F = np.linalg.solve(np.eye(110) - 0.9 * root[:, None] * W * root, Y)[60:]
    if balance:  # each class has its share of the source rows
        F *= Y.sum(0) / F.sum(0)
    np.testing.assert_allclose(model.shares_, F / F.sum(1, keepdims=True), atol=1e-8)


def test_neighbours_are_the_nearest_and_lists_find_nearly_all_of_them():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 4)) + 50
    exact = nearest(points, points, 5, same=True)
    brute = kneighbors_graph(points, 5).toarray()
    mine = np.zeros_like(brute)
    np.put_along_axis(mine, exact.index, 1.0, axis=1)
    np.testing.assert_array_equal(mine, brute)
    assert (np.diff(exact.squared, axis=1) >= 0).all()
    lists = nearest_in_lists(points, points, 5, n_probe=8, seed=0, same=True)
    hit = (lists.index[:, :, None] == exact.index[:, None, :]).any(2)
    assert hit.mean() > 0.95 and (lists.index != np.arange(3000)[:, None]).all()


@pytest.mark.parametrize("solver", ["exact", "approximate"])
def test_helps_where_the_target_turned_and_its_shape_tells(solver):
    Xs, ys, Xt, yt = moons(600, 600, turn=0.7)
    model = fit(RelationalPropagation(solver=solver, alpha=0.99), Xs, ys, Xt)
    alone = KNeighborsClassifier(5).fit(Xs, ys).score(Xt, yt)
    assert alone < 0.9 < 0.95 < model.score(Xt, yt)
    assert (model.labels_ == yt).mean() == model.score(Xt, yt)


def test_lists_cost_less_than_half_a_point():
    Xs, ys, Xt, yt = moons(3000, 3000)
    a, b = (
        fit(RelationalPropagation(solver=s, alpha=0.99, n_probe=8), Xs, ys, Xt)
        for s in ("exact", "approximate")
    )
    assert abs(a.score(Xt, yt) - b.score(Xt, yt)) <= 0.005
    assert b.info_["solver"] == "approximate: inverted lists"


def test_new_rows_of_the_target_are_served():
    Xs, ys, Xt, yt = moons(600, 900, turn=0.3)
    model = fit(RelationalPropagation(), Xs, ys, Xt[:600])
    assert model.score(Xt[600:], yt[600:]) > 0.95
    np.testing.assert_allclose(model.predict_proba(Xt[:600]), model.shares_, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(Xt).sum(axis=1), 1)


def test_fails_where_the_turn_brings_each_moon_to_the_other_and_labels_help():
    Xs, ys, Xt, yt = moons(turn=np.pi)
    assert fit(RelationalPropagation(alpha=0.99), Xs, ys, Xt).score(Xt, yt) < 0.2
    known = np.where(np.arange(len(Xt)) < 60, yt.astype(object), None)
    mended = fit(RelationalPropagation(n_cross=0, alpha=0.99), Xs, ys, Xt, known)
    assert mended.score(Xt[60:], yt[60:]) > 0.95


def test_rows_that_no_label_reaches_are_said():
    Xs, ys, Xt, _ = moons(60, 50)
    model = fit(RelationalPropagation(n_cross=0), Xs, ys, Xt)
    assert [t.code for t in model.troubles_] == ["unreached"]
    np.testing.assert_allclose(model.shares_, 0.5)
    short = fit(RelationalPropagation(max_iter=1, alpha=0.99), Xs, ys, Xt)
    assert [t.code for t in short.troubles_] == ["not-converged"]


def test_duplicates_single_rows_and_wrong_parameters():
    Xs, ys, Xt, _ = moons(60, 50)
    same = fit(RelationalPropagation(), np.repeat(Xs[:6], 10, axis=0), ys, np.repeat(Xt[:5], 9, 0))
    assert np.isfinite(same.predict_proba(Xt)).all()
    assert np.isfinite(fit(RelationalPropagation(), Xs, ys, Xt[:1]).predict_proba(Xt)).all()
    for wrong in ({"alpha": 1.0}, {"n_neighbors": 0}, {"n_cross": -1}, {"solver": "quick"}):
        with pytest.raises(UsageError):
            fit(RelationalPropagation(**wrong), Xs, ys, Xt)
    with pytest.raises(DataError, match="one class"):
        fit(RelationalPropagation(), Xs, np.full(60, "up"), Xt)


def test_balance_is_wrong_where_the_class_shares_differ():
    Xs, ys, Xt, yt = moons(600, 600, turn=0.2)
    kept = (yt == "up") | (np.arange(600) % 12 == 0)  # few rows of the other class stay
    scores = [
        fit(RelationalPropagation(alpha=0.99, balance=b), Xs, ys, Xt[kept]).score(
            Xt[kept], yt[kept]
        )
        for b in (False, True)
    ]
    assert scores[0] > 0.97 and scores[1] < scores[0] - 0.01


def test_helps_on_pixels_of_two_digit_sets(real_data):
    """USPS to MNIST: nearest neighbours 56 %; the paper's alpha makes it worse."""
    raw = np.load(real_data / "published" / "mnist_usps.npz")
    (Xs, ys), (Xt, yt) = (
        (raw[f"X_{name}"][:1500].astype(float), raw[f"y_{name}"].ravel()[:1500].astype(str))
        for name in ("usps", "mnist")
    )
    Xs, Xt = (X / np.linalg.norm(X, axis=1, keepdims=True) for X in (Xs, Xt))
    scores = [fit(RelationalPropagation(alpha=a), Xs, ys, Xt).score(Xt, yt) for a in (0.8, 0.99)]
    alone = KNeighborsClassifier(1).fit(Xs, ys).score(Xt, yt)
    assert scores[0] > alone + 0.05 and scores[1] < scores[0]
