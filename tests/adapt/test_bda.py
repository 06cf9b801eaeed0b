"""BDA: its balance contains JDA and TCA; the estimated balance follows the gap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.bda import BDA
from isthmus.adapt.discriminability import balance, separability
from isthmus.adapt.jda import JDA
from isthmus.adapt.tca import TCA
from isthmus.errors import UsageError


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(80) % 2, np.arange(70) % 2
    Xs, Xt = rng.normal(size=(80, 6)), rng.normal(size=(70, 6))
    Xs[:, 0] += 6 * ys
    Xt[:, 0] += 6 * yt
    Xs[:, 1:] *= 3
    Xt[:, 1:] *= 3
    Xt[:, 1] += 20 * (yt - 0.5)
    Xt[:, 2] += 40
    return Xs, ys, Xt, yt


def same(a, b, Xt):
    np.testing.assert_allclose(a.Xs, b.Xs, atol=1e-8)
    np.testing.assert_allclose(a.map_target(Xt), b.map_target(Xt), atol=1e-8)


def test_half_is_jda_and_zero_is_tca(domains):
    Xs, ys, Xt, _ = domains
    same(BDA(3, balance=0.5).adapt(Xs, ys, Xt), JDA(3).adapt(Xs, ys, Xt), Xt)
    same(BDA(3, balance=0).adapt(Xs, ys, Xt), TCA(3).adapt(Xs, ys, Xt), Xt)


def test_one_compares_the_classes_alone(domains):
    """With one class on either side the class means are the domain means."""
    Xs, _, Xt, _ = domains
    one = np.zeros(len(Xs), dtype=int)
    same(BDA(3, balance=1).adapt(Xs, one, Xt), TCA(3).adapt(Xs, None, Xt), Xt)


def test_the_estimated_balance_follows_the_gap():
    rng = np.random.default_rng(1)
    y = np.arange(400) % 2
    Zs, Zt = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    moved = Zt + 8 * (np.arange(3) == 1)
    turned = Zt.copy()
    turned[:, 2] += 8 * (y - 0.5)  # no gap of the means, a wide one within classes
    from array_api_compat import numpy as xp

    assert balance(xp, Zs, y, turned, y) > 0.9
    assert balance(xp, Zs, y, moved, y) == pytest.approx(0.5, abs=0.01)
    assert separability(xp, Zs, moved) > 1.95
    assert separability(xp, Zs, Zt) < 0.3


def score(adapter, Xs, ys, Xt, yt):
    got = adapter.adapt(Xs, ys, Xt)
    again = KNeighborsClassifier(1).fit(got.Xs, ys).predict(got.map_target(Xt))
    return float(np.mean(again == yt))


def moved():
    """A direction moved; another tells the target's classes apart, and not the source's."""
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    Xs, Xt = rng.normal(size=(200, 4)), rng.normal(size=(200, 4))
    for X in (Xs, Xt):
        X[:, 0] += 6 * (y - 0.5)
        X[:, 1:] *= 3
    Xt[:, 1] += 20 * (y - 0.5)
    Xt[:, 2] += 20
    return Xs, y, Xt, y


def test_auto_is_reported_and_helps():
    given = moved()
    assert 0 <= BDA(2).adapt(*given[:3]).info["balance"] <= 1
    assert score(TCA(2), *given) < 0.95 < 0.98 < score(BDA(2), *given)


def test_fails_when_each_class_lies_where_the_other_was():
    Xs, ys, Xt, yt = moved()
    Xt = Xt - np.outer(20 * (yt - 0.5), np.arange(4) == 1) - 20 * (np.arange(4) == 2)
    Xt[:, 0] *= -1
    assert score(BDA(2), Xs, ys, Xt, yt) < 0.4


@pytest.mark.parametrize("bad", [-0.1, 1.5, "even"])
def test_other_balances_are_refused(domains, bad):
    Xs, ys, Xt, _ = domains
    with pytest.raises(UsageError, match="balance"):
        BDA(balance=bad).adapt(Xs, ys, Xt)
