"""Closed-form ridge: weights in leave-one-out, limits, zero weights."""

import numpy as np
import pytest

from isthmus.errors import UsageError
from isthmus.fit import ridge_path as module
from isthmus.fit.ridge_path import fit_ridge


def solve(X, y, w, alpha, groups=None):
    return fit_ridge(
        X, y[:, None], w, alpha, groups=groups, strata=y, task="regression", random_state=0
    )


def data(n=40, d=5):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] + rng.normal(size=n)


@pytest.mark.parametrize("shape", [(40, 5), (20, 45)])
def test_whole_weights_are_repeated_rows_for_choice_and_solution(shape):
    X, y = data(*shape)
    w = np.random.default_rng(1).integers(0, 4, len(X))
    again = np.repeat(np.arange(len(X)), w)
    a = solve(X, y, w.astype(float), "cv")
    b = solve(X[again], y[again], np.ones(len(again)), "cv")
    assert a.alpha == pytest.approx(b.alpha)
    assert np.allclose(list(a.losses.values()), list(b.losses.values()))
    assert np.allclose(a.coef, b.coef)


def test_more_noise_wants_a_stronger_penalty():
    X, y = data(60, 20)
    noise = np.random.default_rng(2).normal(size=60) * 10
    assert solve(X, y + noise, np.ones(60), "cv").alpha > solve(X, y, np.ones(60), "cv").alpha


def test_one_row_and_too_many_features(monkeypatch):
    X, y = data(1)
    found = solve(X, y, np.ones(1), "cv")
    assert "nothing can be held out" in found.how and np.allclose(found.coef, 0)
    assert found.intercept == pytest.approx(y)
    monkeypatch.setattr(module, "_MOST", 10)
    with pytest.raises(UsageError, match="pca"):
        solve(*data(30, 20), np.ones(30), "cv")
