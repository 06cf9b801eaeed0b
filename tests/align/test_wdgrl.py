"""WDGRL: the penalty knows a unit slope, and the critic finds the distance."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.wdgrl import WDGRL, between, gradient_penalty  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


def test_a_unit_slope_costs_nothing_and_another_its_square():
    squares = lambda *weight: torch.tensor(weight).double().square().sum().expand(9)  # noqa: E731
    assert gradient_penalty(squares(0.6, 0.8)).item() == pytest.approx(0, abs=1e-12)
    steep = torch.tensor([3.0, 4.0]).double().requires_grad_()
    penalty = gradient_penalty(steep.square().sum().expand(9))
    assert penalty.item() == pytest.approx(16)
    penalty.backward()  # d (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(steep.grad, torch.tensor([4.8, 6.4]).double())
    for flat, cost in ((0.0, 1), (0.3, 0.49)):  # the paper's; one-sided, being flat is free
        assert gradient_penalty(squares(flat), False).item() == pytest.approx(cost, abs=1e-5)
        assert gradient_penalty(squares(flat)) == 0


def test_points_lie_between_pairs():
    batch = lambda X: DomainBatch(X.double().requires_grad_(), None)  # noqa: E731
    points = between(batch(torch.zeros(4, 2)), batch(torch.ones(3, 2)))
    assert points.shape == (3, 2) and not points.requires_grad
    assert ((points > 0) & (points < 1)).all()
    assert torch.equal(points[:, 0], points[:, 1])


def test_a_trained_critic_finds_the_wasserstein_distance(pair, built):
    source, target = pair(32, 32, d=2)
    moved = source.features.detach() + torch.tensor([1.5, 0.0]).double()
    target = dataclasses.replace(target, features=moved)
    wdgrl = built(WDGRL(strength=0.0, hidden=(32,)), d=2)
    optimizer = torch.optim.Adam(wdgrl.parameters(), lr=0.02)
    for _ in range(200):
        loss = wdgrl(source, target, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # a translation by 1.5: W1 is 1.5, and the critic's slope is held near 1 by the penalty
    assert wdgrl.figures["wasserstein"].item() == pytest.approx(1.5, abs=0.15)


def test_the_penalty_does_not_reach_the_features(pair, built):
    def gradient(penalty):
        source, target = pair()
        wdgrl = built(WDGRL(penalty=penalty, gamma=None))
        return torch.autograd.grad(wdgrl(source, target, 1.0), target.features)[0]

    torch.testing.assert_close(gradient(0.0), gradient(100.0))
