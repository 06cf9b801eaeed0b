"""Gradient reversal equals the two steps of the min-max game."""

from __future__ import annotations

import doctest

import pytest

torch = pytest.importorskip("torch")

from isthmus.align import gradient_reversal as module  # noqa: E402
from isthmus.align.gradient_reversal import gradient_reversal, ramp  # noqa: E402


@pytest.mark.parametrize("coefficient", [0.0, 0.3, 1.0, 2.5])
def test_one_backward_pass_is_the_two_steps_of_the_game(coefficient):
    torch.manual_seed(0)
    features = torch.nn.Linear(4, 3).double()
    critic = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    critic.double()
    x, y = torch.randn(8, 4).double(), torch.randint(0, 2, (8, 1)).double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits

    # step 1: the critic lowers the loss on fixed features; step 2: the features raise it
    down = torch.autograd.grad(loss(critic(features(x).detach()), y), critic.parameters())
    up = torch.autograd.grad(loss(critic(features(x)), y), features.parameters())

    loss(critic(gradient_reversal(features(x), coefficient)), y).backward()
    for parameter, wanted in zip(critic.parameters(), down, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=0, atol=1e-15)
    for parameter, wanted in zip(features.parameters(), up, strict=True):
        torch.testing.assert_close(parameter.grad, -coefficient * wanted, rtol=0, atol=1e-15)


def test_values_pass_bit_for_bit():
    x = torch.randn(50)
    assert torch.equal(gradient_reversal(x, 0.7), x)


def test_the_ramp_is_the_papers():
    for p in (0.0, 0.1, 0.5, 1.0):
        paper = 2 / (1 + 2.718281828459045 ** (-10 * p)) - 1
        assert ramp(p) == pytest.approx(paper, abs=1e-12)
    assert ramp(0.0) == 0 and ramp(0.3, None) == 1
    assert ramp(1.0, 1e4) == 1.0  # no overflow


def test_the_examples_run():
    assert doctest.testmod(module, extraglobs={"torch": torch}).failed == 0
