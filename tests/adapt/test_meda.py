"""MEDA against its closed form written out densely, and the labels that it cannot know."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier, kneighbors_graph

from isthmus.adapt import cosine_graph
from isthmus.adapt.cosine_graph import laplacian
from isthmus.adapt.gfk import GFK
from isthmus.adapt.meda import MEDA, mmd_means, mmd_rows
from isthmus.data.domains import stack_domains
from isthmus.errors import UsageError


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def domains(n=90, m=75, seed=0, gap=1.0, apart=3.0):
    rng = np.random.default_rng(seed)
    middle = apart * rng.normal(size=(3, 12))
    ys, yt = np.arange(n) % 3, np.arange(m) % 3
    names = np.array(["x", "y", "z"])
    Xs, Xt = rng.normal(size=(n, 12)) + middle[ys], rng.normal(size=(m, 12)) + middle[yt] + gap
    return Xs, names[ys], Xt, names[yt]


def fitted(model, Xs, ys, Xt, yt=None):
    X, y, side, known = stack_domains(Xs, ys, Xt, yt)
    return model.fit(X, y, sample_domain=side, target_labeled=known)


def normalised_laplacian(Z, neighbors):
    near = kneighbors_graph(Z, neighbors, metric="cosine", include_self=False).toarray() > 0
    W = np.where(near | near.T | np.eye(len(Z), dtype=bool), np.maximum(Z @ Z.T, 0), 0)
    root = 1 / np.sqrt(W.sum(axis=1))
    return np.eye(len(Z)) - root[:, None] * W * root


def test_the_graph_equals_that_of_scikit_learn():
    Z = unit(np.random.default_rng(1).normal(size=(60, 5)))
    got = laplacian(Z, neighbors=4, exact=True, random_state=0)
    np.testing.assert_allclose(got.toarray(), normalised_laplacian(Z, 4), atol=1e-10)


def test_the_graph_by_cells_finds_most_neighbours(monkeypatch):
    monkeypatch.setattr(cosine_graph, "LOOKED", 0)  # 4 of 20 cells
    rng = np.random.default_rng(2)
    Z = unit(rng.normal(size=(400, 4)) + 2 * rng.normal(size=(8, 4))[np.arange(400) % 8])
    exact, cells = (laplacian(Z, neighbors=5, exact=e, random_state=0) != 0 for e in (True, False))
    assert (exact.multiply(cells)).sum() > 0.85 * exact.sum()


def test_equals_the_closed_form_written_out():
    Xs, ys, Xt, _ = domains()
    model = fitted(MEDA(4, balance=0.3, max_iter=1, neighbors=5), Xs, ys, Xt)
    middle = np.r_[Xs, Xt].mean(axis=0)
    flow = GFK(4).adapt(Xs - middle, None, Xt - middle)
    Z = unit(np.r_[flow.Xs, flow.map_target(Xt - middle)])
    pseudo = KNeighborsClassifier(1).fit(Z[:90], ys).predict(Z[90:])
    K, n, classes = rbf_kernel(Z, gamma=0.5), len(Z), np.unique(ys)
    e = np.r_[np.full(90, 1 / 90), np.full(75, -1 / 75)]
    M = 0.7 * 3 * np.outer(e, e)
    for c in classes:
        e = np.r_[(ys == c) / (ys == c).sum(), (pseudo == c) / -(pseudo == c).sum()]
        M += 0.3 * np.outer(e, e)
    M /= np.linalg.norm(M)
    E = np.diag(np.r_[np.ones(90), np.zeros(75)])
    Y = np.zeros((n, 3))
    Y[np.arange(90), np.searchsorted(classes, ys)] = 1
    system = (E + 10 * M + normalised_laplacian(Z, 5)) @ K + 0.1 * np.eye(n)
    want = K @ np.linalg.solve(system, E @ Y)
    np.testing.assert_allclose(model.decision_function(Xt), want[90:], atol=1e-8)
    np.testing.assert_array_equal(model.labels_, classes[want[90:].argmax(1)])


def test_the_means_of_the_penalty_equal_its_rows():
    rng = np.random.default_rng(3)
    F, codes, pseudo = rng.normal(size=(30, 4)), np.arange(18) % 3, np.arange(12) % 2
    np.testing.assert_allclose(
        mmd_means(F, 18, codes, pseudo, 4, 0.4), mmd_rows(codes, pseudo, 4, 0.4) @ F, atol=1e-12
    )
    M = mmd_rows(codes, pseudo, 4, 0.4)
    assert np.linalg.norm(M.T @ M) == pytest.approx(1)


def test_helps_and_landmarks_give_the_same_within_half_a_point():
    Xs, ys, Xt, yt = domains(300, 200, seed=4, gap=2.0, apart=1.0)
    plain = np.mean(KNeighborsClassifier(1).fit(Xs, ys).predict(Xt) == yt)
    exact = fitted(MEDA(6), Xs, ys, Xt)
    nearly = fitted(MEDA(6, solver="approximate", landmarks=200), Xs, ys, Xt)
    assert nearly.info_["solver"] == "nystroem"
    assert np.mean(exact.labels_ == yt) > plain
    assert abs(np.mean(exact.labels_ == yt) - np.mean(nearly.labels_ == yt)) < 0.0051


def test_new_rows_and_probabilities():
    Xs, ys, Xt, yt = domains()
    model = fitted(MEDA(5), Xs, ys, Xt)
    np.testing.assert_array_equal(model.predict(Xt), model.labels_)
    proba = model.predict_proba(Xt[:4])
    assert proba.shape == (4, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert np.mean(model.predict(domains(seed=0)[2]) == yt) > 0.9


def test_labelled_target_rows_are_kept_and_help_where_labels_are_swapped():
    """Without them a swap of the classes cannot be seen: the method must fail."""
    Xs, ys, Xt, yt = domains(gap=0.0)
    swapped = np.array(list("yzx"))[np.searchsorted(["x", "y", "z"], yt)]
    blind = fitted(MEDA(5), Xs, ys, Xt)
    assert np.mean(blind.labels_ == swapped) < 0.05
    some = np.array([v if i % 2 else None for i, v in enumerate(swapped)], dtype=object)
    told = fitted(MEDA(5), Xs, ys, Xt, some)
    assert (told.labels_[1::2] == swapped[1::2]).all()
    assert np.mean(told.labels_[::2] == swapped[::2]) >= np.mean(blind.labels_[::2] == swapped[::2])


def test_unknown_classes_and_wrong_parameters_are_refused():
    Xs, ys, Xt, _ = domains()
    with pytest.raises(UsageError, match="without source rows"):
        fitted(MEDA(), Xs, ys, Xt, np.array(["new", *[None] * 74], dtype=object))
    for bad in (MEDA(eta=0), MEDA(rho=-1), MEDA(solver="fast"), MEDA(balance=2.0)):
        with pytest.raises(UsageError):
            fitted(bad, Xs, ys, Xt)
