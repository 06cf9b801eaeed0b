"""The capacity-matched circle: its definition, few rows and many, no gain from capacity."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.circular_capacity import CircularCapacity


def data(d=4, n=120, m=90, seed=0, K=3):
    rng = np.random.default_rng(seed)
    corner = 2 * rng.normal(size=(K, d))
    ys, yt = np.arange(n) % K, np.arange(m) % K
    Xs = corner[ys] + rng.normal(size=(n, d))
    Xt = (corner[yt] + rng.normal(size=(m, d))) * 1.2 + 0.3
    scene = Scene(Xs, ys, Xt, K, np.ones(n), np.zeros((m, 1), int), np.full((m, K), 1 / K))
    return scene, yt


@pytest.mark.parametrize("d", [4, 150])
def test_it_is_the_discriminant_by_its_definition(d):
    scene, yt = data(d)
    said = np.where(np.random.default_rng(1).random(90) < 0.2, (yt + 1) % 3, yt)
    scale = StandardScaler().fit(scene.Xt)
    Zt, Zs = scale.transform(scene.Xt), scale.transform(scene.Xs)
    means = np.stack([Zt[said == k].mean(axis=0) for k in range(3)])
    W = (Zt - means[said]).T @ (Zt - means[said]) / 90 + 0.1 * np.eye(d)
    distance = np.stack(
        [np.einsum("ij,ij->i", (Zs - m) @ np.linalg.inv(W), Zs - m) for m in means], axis=1
    )
    expected = (distance.argmin(axis=1) == scene.ys).mean()
    assert 0.34 < expected < 1
    assert CircularCapacity().score(scene, Trial("t", np.eye(3)[said])) == pytest.approx(expected)


def test_a_candidate_is_judged_by_its_labels_and_by_nothing_else():
    scene, yt = data()
    said = np.eye(3)[yt]

    def forbidden(*_):
        raise AssertionError("the candidate comes back by the common head")

    bare, rich = Trial("a", said), Trial("b", said, predict=forbidden, refit=forbidden)
    assert CircularCapacity().score(scene, bare) == CircularCapacity().score(scene, rich)
    assert CircularCapacity.needs == () and CircularCapacity.cost == "cheap"


def test_better_labels_have_the_better_score():
    scene, yt = data(d=6, n=300, m=300)
    rng, values = np.random.default_rng(2), []
    for share in (0.0, 0.4, 0.6):  # of the rows go to the next class
        said = np.where(rng.random(300) < share, (yt + 1) % 3, yt)
        values.append(CircularCapacity().score(scene, Trial("t", np.eye(3)[said])))
    assert values[0] > values[1] > values[2]


def test_a_class_that_is_never_predicted_never_comes_back():
    scene, yt = data()
    said = np.where(yt == 2, 0, yt)
    got = CircularCapacity().score(scene, Trial("t", np.eye(3)[said]))
    assert got <= 2 / 3


def test_constant_columns_do_not_matter_and_constant_rows_are_refused():
    scene, yt = data()
    trial = Trial("t", np.eye(3)[yt])
    wide = Scene(
        np.c_[scene.Xs, np.arange(120)],
        scene.ys,
        np.c_[scene.Xt, np.full(90, 7.1)],
        3,
        scene.weights,
        scene.neighbors,
        scene.consensus,
    )
    assert CircularCapacity().score(wide, trial) == CircularCapacity().score(scene, trial)
    flat = Scene(
        scene.Xs, scene.ys, np.ones((90, 4)), 3, scene.weights, scene.neighbors, scene.consensus
    )
    with pytest.raises(DataError, match="no feature varies"):
        CircularCapacity().score(flat, trial)
    with pytest.raises(UsageError, match="reg"):
        CircularCapacity(reg=0).score(scene, trial)


def test_the_number_of_rows_of_a_class_gives_it_no_weight():
    rng = np.random.default_rng(4)
    ys, yt = np.arange(400) % 2, (np.arange(400) < 380).astype(int)
    Xs, Xt = (rng.normal(size=(400, 2)) + 3 * y[:, None] * [1, 0] for y in (ys, yt))
    near = np.zeros((400, 1), int)
    scene = Scene(Xs, ys, Xt, 2, np.ones(400), near, np.full((400, 2), 0.5))
    balanced = 0.5 * ((Xs[ys == 0, 0] < 1.5).mean() + (Xs[ys == 1, 0] > 1.5).mean())
    got = CircularCapacity().score(scene, Trial("t", np.eye(2)[yt]))
    assert got == pytest.approx(balanced, abs=0.04)
