"""JDA against the authors' loop solved densely; pseudo-labels that mend and that mislead."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt import density
from isthmus.adapt.jda import JDA
from isthmus.adapt.tca import TCA


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def authors_loop(Xs, ys, Xt, *, k, trade_off, rounds):
    """The published code, with a symmetric-definite solver and vectors of unit length."""
    X, n, classes = unit(np.r_[Xs, Xt]), len(Xs) + len(Xt), np.unique(ys)
    K, H, pseudo = X @ X.T, np.eye(n) - 1 / n, None
    for _ in range(rounds):
        e = np.r_[np.full(len(Xs), 1 / len(Xs)), np.full(len(Xt), -1 / len(Xt))]
        M = np.outer(e, e) * len(classes)
        for c in classes if pseudo is not None else ():
            e = np.r_[(ys == c) / (ys == c).sum(), (pseudo == c) / -max((pseudo == c).sum(), 1)]
            M += np.outer(e, e)
        M /= np.linalg.norm(M)
        A = K @ M @ K + trade_off * np.eye(n)
        _, W = eigh(K @ H @ K, A, subset_by_index=(n - k, n - 1))
        Z = unit(K @ (W / np.linalg.norm(W, axis=0)))
        pseudo = KNeighborsClassifier(1).fit(Z[: len(Xs)], ys).predict(Z[len(Xs) :])
    return Z, pseudo


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(60) % 3, np.arange(50) % 3
    middle = 2 * rng.normal(size=(3, 8))
    Xs = rng.normal(size=(60, 8)) + middle[ys] + 1
    return Xs, ys, rng.normal(size=(50, 8)) + middle[yt] @ (np.eye(8) + 0.3), yt


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_equals_the_authors_loop(domains, rounds):
    Xs, ys, Xt, _ = domains
    Z, pseudo = authors_loop(Xs, ys, Xt, k=4, trade_off=0.5, rounds=rounds)
    got = JDA(4, trade_off=0.5, max_iter=rounds, normalize=True).adapt(Xs, ys, Xt)
    ours = np.r_[got.Xs, got.map_target(Xt)]
    np.testing.assert_allclose(ours @ ours.T, Z @ Z.T, atol=1e-6)
    again = KNeighborsClassifier(1).fit(got.Xs, ys).predict(got.map_target(Xt))
    np.testing.assert_array_equal(again, pseudo)


def test_says_when_the_labels_settled_and_when_a_class_is_empty(domains):
    Xs, ys, _, _ = domains
    got = JDA(2).adapt(*moved(20)[:3])
    assert got.info["labels_settled"] and got.info["iterations"] < 10
    assert got.labels is None  # the estimator learns from the source's labels, not from guesses
    got = JDA(8, max_iter=2).adapt(Xs, ys, Xs[ys == 0][:3])
    assert [t.code for t in got.troubles] == ["empty-class"]


def test_inverted_lists_give_the_same_within_half_a_point(monkeypatch):
    monkeypatch.setattr(density, "LOOKED", 0)  # 8 of 30 groups
    rng = np.random.default_rng(1)
    middle = 2 * rng.normal(size=(5, 12))
    ys, yt = np.arange(900) % 5, np.arange(800) % 5
    Xs = rng.normal(size=(900, 12)) + middle[ys]
    Xt = rng.normal(size=(800, 12)) + middle[yt] + 1
    exact, nearly = (
        score(Xs, ys, Xt, yt, JDA(6, solver=solver)) for solver in ("exact", "approximate")
    )
    assert exact > 0.9 and abs(exact - nearly) <= 0.005


def moved(nuisance):
    """A direction moved that tells the target's classes apart, and not the source's."""
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    Xs, Xt = rng.normal(size=(200, 4)), rng.normal(size=(200, 4))
    for X in (Xs, Xt):
        X[:, 0] += 6 * (y - 0.5)
        X[:, 1:] *= 3
    Xt[:, 1] += nuisance * (y - 0.5)
    Xt[:, 2] += 20
    return Xs, y, Xt, y


def score(Xs, ys, Xt, yt, adapter=None):
    rows, new = Xs, Xt
    if adapter:
        got = adapter.adapt(Xs, ys, Xt)
        rows, new = got.Xs, got.map_target(Xt)
    return float(np.mean(KNeighborsClassifier(1).fit(rows, ys).predict(new) == yt))


def test_helps_when_the_first_labels_are_mostly_right():
    given = moved(20)
    assert score(*given) < 0.85
    assert score(*given, TCA(2)) < 0.95 < 0.98 < score(*given, JDA(2))


def test_fails_when_the_first_labels_are_wrong():
    Xs, ys, Xt, yt = moved(0)
    Xt = Xt - 20 * (np.arange(4) == 2)
    Xt[:, 0] *= -1  # each class lies where the other was
    assert score(Xs, ys, Xt, yt, JDA(2)) < 0.1
