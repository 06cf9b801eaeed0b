"""LwF: zero while nothing was forgotten, Hinton's distillation afterwards."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.fit.deep.regularize.lwf import LwF, distillation  # noqa: E402


def test_it_is_zero_at_the_start_and_the_divergence_afterwards(network, inputs, see, built, moved):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        old = torch.nn.Linear(6, 5).double()
    penalty = built(LwF(old, temperature=2.0), network)
    assert penalty(network, see(network, inputs)).item() == pytest.approx(0, abs=1e-12)
    before = old(network.features(inputs)).detach()
    moved(network)
    p = (before / 2).softmax(1)
    q = (old(network.features(inputs)) / 2).softmax(1)
    wanted = 4 * (p * (p / q).log()).sum(1).mean()
    got = penalty(network, see(network, inputs))
    torch.testing.assert_close(got, wanted)
    got.backward()
    assert network.body.conv.weight.grad.any() and penalty.source_head.weight.grad.any()
    assert list(penalty.state_dict()) == ["source_head.weight", "source_head.bias"]


def test_the_networks_own_head_is_the_default(network, inputs, see, built):
    penalty = built(LwF(), network)
    assert torch.equal(penalty.source_head.weight, network.head.weight)
    assert penalty(network, see(network, inputs)).item() == pytest.approx(0, abs=1e-12)


def test_distillation_has_the_gradient_of_soft_labels():
    z = torch.randn(4, 3).double().requires_grad_(True)
    teacher = torch.randn(4, 3).double().requires_grad_(True)
    distillation(z, teacher, 3.0).backward()
    wanted = 3 * ((z / 3).softmax(1) - (teacher / 3).softmax(1)).detach() / 4
    torch.testing.assert_close(z.grad, wanted)
    assert teacher.grad is None
