"""EasyTL: its assignment against the paper's linear programme, and the class that it must use."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.base import clone

from isthmus.adapt.easytl import EasyTL, programme
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


def paper(distances):
    """Eq. 3 as a linear programme: shares M (n, C) >= 0, rows sum to 1, columns to at least 1."""
    n, C = distances.shape
    rows = np.kron(np.eye(n), np.ones(C))
    columns = -np.kron(np.ones(n), np.eye(C))
    return linprog(distances.ravel(), columns, -np.ones(C), rows, np.ones(n)).fun


@pytest.mark.parametrize("seed", range(8))
def test_the_assignment_solves_the_linear_programme(seed):
    rng = np.random.default_rng(seed)
    distances = rng.uniform(size=(9, 4)) + np.array([0, 0.2, 0.8, 1.5])  # the last classes are far
    found = programme(distances)
    assert set(found) == {0, 1, 2, 3}
    assert distances[np.arange(9), found].sum() == pytest.approx(paper(distances))


def test_fewer_rows_than_classes_take_the_nearest():
    assert programme(np.array([[3.0, 1.0, 2.0]])).tolist() == [1]


def domains(shares, seed=0, n=300):
    rng = np.random.default_rng(seed)
    ys = np.arange(n) % 3
    yt = rng.choice(3, size=200, p=shares)
    middle = np.array([[0, 0, 0], [6, 0, 0], [0, 6, 0]])
    Xs, Xt = rng.normal(size=(n, 3)) + middle[ys], rng.normal(size=(200, 3)) + middle[yt]
    return Xs, np.array(["a", "b", "c"])[ys], Xt, np.array(["a", "b", "c"])[yt]


def fitted(model, Xs, ys, Xt, yt=None):
    X, y, side, known = stack_domains(Xs, ys, Xt, yt)
    return model.fit(X, y, sample_domain=side, target_labeled=known)


def test_without_alignment_it_is_the_nearest_class_mean():
    Xs, ys, Xt, yt = domains([0.3, 0.3, 0.4])
    model = fitted(EasyTL(alignment="none"), Xs, ys, Xt)
    means = np.stack([Xs[ys == c].mean(0) for c in "abc"])
    want = np.array(list("abc"))[((Xt[:, None] - means) ** 2).sum(2).argmin(1)]
    np.testing.assert_array_equal(model.predict(Xt), want)
    np.testing.assert_array_equal(model.labels_, want)
    assert np.mean(want == yt) > 0.98 and list(model.classes_) == ["a", "b", "c"]


def test_alignment_helps_when_the_covariance_differs():
    Xs, ys, Xt, yt = domains([0.3, 0.3, 0.4])
    turn = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]])
    Xt = Xt @ turn @ np.diag([0.2, 1, 1]) @ turn.T
    plain, aligned = (
        np.mean(fitted(EasyTL(alignment=how), Xs, ys, Xt).labels_ == yt)
        for how in ("none", "coral")
    )
    assert plain < 0.9 < 0.95 < aligned


def test_fails_when_the_target_lacks_a_class():
    """The rule that every class is used takes rows from the others: one for each missing class."""
    Xs, ys, Xt, _ = domains([0.5, 0.5, 0.0])
    model = fitted(EasyTL(alignment="none"), Xs, ys, Xt)
    assert (model.predict(Xt) == "c").sum() == 0 and (model.labels_ == "c").sum() == 1


def test_labelled_target_rows_keep_their_label_and_move_the_means():
    Xs, ys, Xt, yt = domains([0.3, 0.3, 0.4])
    some = np.array([label if i < 60 else None for i, label in enumerate(yt)], dtype=object)
    wrong = np.where(some == "a", "b", np.where(some == "b", "a", some))
    model = fitted(EasyTL(), Xs, ys, Xt, wrong)
    assert (model.labels_[:60] == wrong[:60]).all()
    assert not np.allclose(model.centers_, fitted(EasyTL(), Xs, ys, Xt).centers_, atol=0.1)


def test_refusals_and_clone():
    Xs, ys, Xt, _ = domains([0.3, 0.3, 0.4])
    with pytest.raises(UsageError, match="alignment"):
        fitted(EasyTL(alignment="pca"), Xs, ys, Xt)
    with pytest.raises(DataError, match="sample_domain"):
        EasyTL().fit(Xs, ys)
    assert clone(EasyTL(alignment="none")).alignment == "none"
