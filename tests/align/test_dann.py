"""DANN is a balanced domain cross-entropy whose gradient reaches the features reversed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.dann import DANN  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402


def test_the_loss_is_the_cross_entropy_of_a_discriminator_written_by_hand(pair, built):
    source, target = pair()
    objective = built(DANN(hidden=(4,)))
    a, b, c, e = (p.detach().numpy() for p in objective.discriminator.parameters())

    def odds(z):
        return (np.maximum(z @ a.T + b, 0) @ c.T + e)[:, 0]

    s, t = (odds(batch.features.detach().numpy()) for batch in (source, target))
    wanted = (np.log1p(np.exp(-s)).mean() + np.log1p(np.exp(t)).mean()) / 2
    assert objective(source, target, 0.5).item() == pytest.approx(wanted, rel=1e-12)
    accuracy = ((s > 0).mean() + (t <= 0).mean()) / 2
    assert objective.figures["domain_accuracy"].item() == pytest.approx(accuracy)


def test_strength_and_progress_scale_the_gradient_of_the_features_alone(pair, built):
    def gradients(strength, progress):
        source, target = pair()
        objective = built(DANN(strength=strength, gamma=10.0))
        own = [*objective.discriminator.parameters()]
        return torch.autograd.grad(objective(source, target, progress), [target.features, *own])

    full, half = gradients(1.0, 1.0), gradients(0.5, 1.0)
    torch.testing.assert_close(full[0], 2 * half[0])
    for a, b in zip(full[1:], half[1:], strict=True):
        torch.testing.assert_close(a, b)
    start = gradients(1.0, 0.0)
    assert not start[0].any() and start[1].any()
    late = gradients(1.0, 0.1)
    torch.testing.assert_close(late[0], full[0] * np.tanh(0.5) / np.tanh(5.0))


def test_the_features_climb_what_the_discriminator_descends(pair, built):
    source, target = pair()
    objective = built(DANN(gamma=None, strength=1.0))
    loss = objective(source, target, 0.0)
    (gradient,) = torch.autograd.grad(loss, [target.features])
    with torch.no_grad():
        target.features.sub_(1e-3 * gradient)  # what an optimizer does
    assert objective(source, target, 0.0) > loss


def test_opposed_says_whose_features_feel_it_and_changes_nothing_else(pair, built):
    def gradients(opposed):
        source, target = pair()
        objective = built(DANN(opposed=opposed))
        loss = objective(source, target, 0.5)
        own = [*objective.discriminator.parameters()]
        leaves = [source.features, target.features, *own]
        return loss, *torch.autograd.grad(loss, leaves, materialize_grads=True)

    one, both = gradients("target"), gradients("both")
    assert not one[1].any() and both[1].any()
    torch.testing.assert_close((one[0], *one[2:]), (both[0], *both[2:]))
    with pytest.raises(UsageError, match="opposed='source'"):
        gradients("source")
