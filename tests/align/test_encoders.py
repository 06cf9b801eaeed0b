"""The parts of a network that are treated apart: encoder, fixed head, second head."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.encoders import another_head, encoder_parameters, through_fixed_head  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(MLP(4, (8,)), 3, bottleneck=5)


def test_the_encoder_is_all_but_the_head():
    net = network()
    found = {id(p) for p in encoder_parameters(net)}
    names = {name for name, p in net.named_parameters() if id(p) not in found}
    assert names == {"head.weight", "head.bias"}


def test_the_gradient_passes_through_the_head_and_leaves_nothing_in_it():
    net, x = network().eval(), torch.randn(6, 4)
    features = net.features(x)
    logits = through_fixed_head(net, features)
    torch.testing.assert_close(logits, net(x))
    logits.sum().backward()
    assert all(p.grad is None and p.requires_grad for p in net.head.parameters())
    assert all(p.grad is not None for p in net.body.parameters())


def test_another_head_has_the_shape_and_other_weights():
    head = network().head
    twin = another_head(head)
    assert twin.weight.shape == head.weight.shape and not torch.equal(twin.weight, head.weight)
