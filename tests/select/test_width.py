"""Directions of little spread are kept where the classes differ in them, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.fit.adapted import common_space
from isthmus.select.width import WIDTH, answers, wide_enough


def rows(n, *, quiet, seed=0, d=400):
    """Ten classes in 400 directions, whose spread falls; `quiet`: they differ in the last ones."""
    rng = np.random.default_rng(seed)
    spread = np.geomspace(3, 0.3, d)
    y = rng.integers(0, 10, n)
    X = rng.normal(size=(n, d)) * spread
    at = np.arange(d - 10, d) if quiet else np.arange(10)
    X[:, at] += 4 * spread[at] * np.eye(10)[y]
    return X.astype("f4"), y


@pytest.mark.parametrize("quiet", [False, True])
def test_as_many_directions_as_the_classes_need(quiet):
    Xs, ys = rows(1500, quiet=quiet)
    space = common_space(None, Xs, rows(500, quiet=quiet, seed=1)[0])
    narrow = wide_enough(space, ys)
    lost = (answers(space.reduced(WIDTH).Xs, ys) == ys).mean()
    assert (lost < 0.3) == quiet
    assert narrow.Xs.shape[1] == (400 if quiet else WIDTH)
    assert (answers(narrow.Xs, ys) == ys).mean() > 0.7


def test_labels_that_say_nothing_ask_for_nothing():
    Xs, _ = rows(600, quiet=True)
    noise = np.random.default_rng(3).integers(0, 3, 600)
    space = common_space(None, Xs, Xs + 0.1)
    assert wide_enough(space, noise).Xs.shape[1] == WIDTH


def test_few_features_stay_as_they_are():
    Xs, ys = rows(100, quiet=True, d=40)
    space = common_space(None, Xs, Xs)
    assert wide_enough(space, ys) is space


def test_answers_are_those_of_refits():
    Xs, ys = rows(40, quiet=False, d=30)
    ys = ys % 3
    from isthmus.fit.ridge_path import fit_ridge

    whole = fit_ridge(
        Xs.astype(float),
        np.eye(3)[ys],
        np.ones(40),
        "cv",
        groups=None,
        strata=ys,
        task="classification",
        random_state=0,
    )
    left = []
    for i in range(40):
        kept = np.delete(np.arange(40), i)
        part = fit_ridge(
            Xs[kept].astype(float),
            np.eye(3)[ys[kept]],
            np.ones(39),
            whole.alpha,
            groups=None,
            strata=ys[kept],
            task="classification",
            random_state=0,
        )
        left.append((part.coef @ Xs[i] + part.intercept).argmax())
    np.testing.assert_array_equal(answers(Xs, ys), left)
