"""The loss is minus the mutual information that the closed-form family measures."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.adapt.information_maximization import information  # noqa: E402
from isthmus.align.information_maximization import (  # noqa: E402
    InformationMaximization,
    information_loss,
)


def test_it_is_minus_the_information_of_rows_and_classes(pair):
    source, target = pair(m=30)
    wanted = information(target.logits.detach().softmax(1).numpy())
    loss = InformationMaximization()(source, target, 0.0)
    assert loss.item() == pytest.approx(-wanted, rel=1e-10)


def test_diversity_weighs_the_spread(pair):
    _, target = pair(m=30)
    p = target.logits.detach().softmax(1)
    entropy = (-(p * p.log()).sum(1).mean()).item()
    mean = p.mean(0)
    spread = (-(mean * mean.log()).sum()).item()
    got = information_loss(target.logits, 0.3).item()
    assert got == pytest.approx(entropy - 0.3 * spread)


def test_a_class_that_is_never_predicted_gives_finite_numbers():
    logits = torch.tensor([[500.0, 0.0, -500.0]]).repeat(4, 1).requires_grad_(True)
    loss = information_loss(logits)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and torch.isfinite(logits.grad).all()
