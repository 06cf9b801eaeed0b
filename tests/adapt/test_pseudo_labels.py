"""Pseudo-labels against scikit-learn's nearest neighbour, exact and by inverted lists."""

from __future__ import annotations

import numpy as np
import pytest
from array_api_compat import numpy as xp
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt import density
from isthmus.adapt.pseudo_labels import missing, nearest, settled


def rows(seed=0):
    rng = np.random.default_rng(seed)
    middle = 3 * rng.normal(size=(6, 5))
    codes = np.arange(900) % 6
    return rng.normal(size=(900, 5)) + middle[codes], codes, rng.normal(size=(500, 5)) + 0.5


def test_exact_labels_equal_scikit_learn():
    Zs, codes, Zt = rows()
    got = nearest(xp, Zs, codes, Zt, solver="auto", max_exact=5000)
    np.testing.assert_array_equal(got, KNeighborsClassifier(1).fit(Zs, codes).predict(Zt))


def test_inverted_lists_find_nearly_all(monkeypatch):
    monkeypatch.setattr(density, "LOOKED", 0)  # 8 of 30 groups
    Zs, codes, Zt = rows()
    a = nearest(xp, Zs, codes, Zt, solver="exact", max_exact=1)
    b = nearest(xp, Zs, codes, Zt, solver="auto", max_exact=1000)
    assert np.mean(a == b) > 0.98
    p, q = np.random.default_rng(0).permutation(900), np.random.default_rng(1).permutation(500)
    c = nearest(xp, Zs[p], codes[p], Zt[q], solver="approximate", max_exact=1)
    np.testing.assert_array_equal(b[q], c)


def test_torch_gives_the_same_labels(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(density, "LOOKED", 0)
    Zs, codes, Zt = rows()
    given = [torch.from_numpy(Z) for Z in (Zs, Zt)]
    for solver in ("exact", "approximate"):
        want = nearest(xp, Zs, codes, Zt, solver=solver, max_exact=1)
        from array_api_compat import torch as xt

        got = nearest(xt, given[0], codes, given[1], solver=solver, max_exact=1)
        assert np.mean(want == got) > 0.998


def test_classes_that_no_row_was_given_are_named():
    classes = np.array(["cat", "dog", "owl"])
    (trouble,) = missing(classes, np.array([0, 0, 2]))
    assert trouble.code == "empty-class" and "dog" in trouble.reason
    assert missing(classes, np.array([0, 1, 2])) == ()


def test_labels_are_settled_when_none_changes_or_few_of_many():
    a = np.zeros(2000, dtype=int)
    b = np.r_[1, np.zeros(1999, dtype=int)]
    assert settled(a, a, rows=4000, solver="exact", max_exact=5000)
    assert not settled(a, b, rows=4000, solver="auto", max_exact=5000)
    assert settled(a, b, rows=4000, solver="auto", max_exact=3000)
    assert not settled(a, 1 - a, rows=4000, solver="approximate", max_exact=3000)


def test_groups_looked_into_follow_from_the_work():
    assert density.probes(100_000, 100_000, 316, 40, least=8) == 8
    assert density.probes(15_000, 15_000, 122, 40, least=8) == 122
    assert density.probes(2000, 2000, 44, 256, least=4) == 44
    assert density.probes(20_000, 20_000, 141, 256, least=4) == 13
