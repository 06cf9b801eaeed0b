"""The solver's value, gradient and curvature against finite differences and plain formulas."""

import numpy as np
import pytest

from isthmus.fit.rows import Rows
from isthmus.fit.solver import Objective, minimise


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("n", "d"), [(50, 7), (8, 20)])
def test_gradient_is_the_derivative_of_the_value(loss, n, d):
    rng = np.random.default_rng(0)
    X, K = rng.normal(size=(n, d)), 3
    y = rng.integers(0, K, n) if loss == "softmax" else (rng.random((n, K)) < 0.4).astype(float)
    trains = rng.random((2, n)) < 0.7
    weights = rng.random(n) + 0.2
    rows = Rows(X, weights)
    o = Objective(rows, y, weights, outputs=K, loss=loss, trains=trains, tests=~trains)
    theta = rng.normal(size=(2, K, rows.r + 1)) * 0.3
    both = np.arange(2)
    seen = o.read(theta, both, 2.0)
    for _ in range(20):
        p, k, j = rng.integers(2), rng.integers(K), rng.integers(rows.r + 1)
        step = np.zeros_like(theta)
        step[p, k, j] = 1e-6
        up, down = o.read(theta + step, both, 2.0), o.read(theta - step, both, 2.0)
        slope = (up.value[p] - down.value[p]) / 2e-6
        assert slope == pytest.approx(seen.gradient[p, k, j], rel=1e-4, abs=1e-5)


def test_value_and_held_out_loss_are_the_plain_formulas():
    rng = np.random.default_rng(1)
    X, y, w = rng.normal(size=(40, 5)), rng.integers(0, 3, 40), rng.random(40)
    train = rng.random(40) < 0.6
    rows = Rows(X, w)
    o = Objective(
        rows,
        y,
        w,
        outputs=3,
        loss="softmax",
        trains=train[None],
        tests=~train[None],
        count_right=True,
    )
    theta = rng.normal(size=(1, 3, rows.r + 1))
    seen = o.read(theta, np.array([0]), 1.5)
    W = rows.coef(theta[0, :, :-1])
    z = (X - rows.mean) @ W.T + theta[0, :, -1]
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(40), y]
    assert seen.value[0] == pytest.approx(1.5 * (w * losses)[train].sum() + 0.5 * np.sum(W**2))
    assert seen.held[0] == pytest.approx((w * losses)[~train].sum())
    assert seen.right[0] == pytest.approx((w * (z.argmax(axis=1) == y))[~train].sum())


def test_problems_solved_together_are_those_solved_alone():
    rng = np.random.default_rng(2)
    X, y, w = rng.normal(size=(90, 6)), rng.integers(0, 3, 90), np.ones(90)
    trains = np.array([np.arange(90) % 3 != f for f in range(3)])
    rows = Rows(X, w)

    def stop(which, theta, g, M, held):
        return np.abs(g).max(axis=(1, 2)) < 1e-9

    def solve(masks):
        o = Objective(rows, y, w, outputs=3, loss="softmax", trains=masks, tests=~masks)
        return minimise(o, o.start(np.float64), 3.0, stop=stop, max_passes=300)

    together = solve(trains)
    assert together.converged.all()
    for f in range(3):
        alone = solve(trains[f : f + 1])
        assert np.allclose(alone.theta[0, :, :-1], together.theta[f, :, :-1], atol=1e-7)


def test_passes_are_bounded_and_reported():
    rng = np.random.default_rng(3)
    X, y, w = rng.normal(size=(60, 6)), rng.integers(0, 3, 60), np.ones(60)
    o = Objective(Rows(X, w), y, w, outputs=3, loss="softmax")
    never = minimise(
        o,
        o.start(np.float64),
        1.0,
        stop=lambda which, *_: np.zeros(len(which), dtype=bool),
        max_passes=4,
    )
    assert never.passes <= 4 and not never.converged.any()
