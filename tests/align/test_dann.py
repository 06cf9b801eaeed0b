"""DANN is a balanced domain cross-entropy whose gradient reaches the features reversed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.dann import DANN  # noqa: E402


def test_the_loss_is_the_cross_entropy_of_a_discriminator_written_by_hand(pair, built):
    source, target = pair()
    objective = built(DANN(hidden=(4,), penalty=0.0))
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
        return torch.autograd.grad(objective(source, target, progress), [source.features, *own])

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
    objective = built(DANN(gamma=None, strength=1.0, penalty=0.0))
    loss = objective(source, target, 0.0)
    (gradient,) = torch.autograd.grad(loss, [source.features])
    with torch.no_grad():
        source.features.sub_(1e-3 * gradient)  # what an optimizer does
    assert objective(source, target, 0.0) > loss


def test_the_penalty_is_the_mean_square_slope_and_teaches_the_discriminator_alone(pair, built):
    source, target = pair()
    plain, held = (built(DANN(hidden=(4,), penalty=p)) for p in (0.0, 3.0))
    a, b, c, _ = (p.detach().numpy() for p in plain.discriminator.parameters())
    slopes = [
        (((z @ a.T + b > 0) * c) @ a) ** 2
        for z in (batch.features.detach().numpy() for batch in (source, target))
    ]
    wanted = 3 * np.mean([s.sum(1).mean() for s in slopes])
    one, two = plain(source, target, 0.5), held(source, target, 0.5)
    assert (two - one).item() == pytest.approx(wanted, rel=1e-10)
    leaves = [source.features, target.features]
    for x, y in zip(torch.autograd.grad(one, leaves, retain_graph=True),
                    torch.autograd.grad(two, leaves, retain_graph=True), strict=True):  # fmt: skip
        torch.testing.assert_close(x, y)
    moved = [torch.autograd.grad(loss, o.discriminator[0].weight)[0]
             for loss, o in ((one, plain), (two, held))]  # fmt: skip
    assert not torch.allclose(*moved)
