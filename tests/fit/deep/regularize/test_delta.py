"""DELTA: squared changes of feature maps, weighted by channel."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.regularize.delta import DELTA, channel_attention  # noqa: E402


def test_changes_of_maps_by_channel(network, inputs, see, built, moved):
    weights = torch.tensor([0.5, 0.5, 0.0]).double()
    penalty = built(DELTA(layers=("body.conv",), attention={"body.conv": weights}), network)
    before = network.body.conv(inputs).detach()
    assert penalty(network, see(network, inputs)).item() == pytest.approx(0, abs=1e-12)
    moved(network)
    now = network.body.conv(inputs)
    changes = (now - before).square().sum((2, 3))
    wanted = 0.01 * (changes * weights).sum(1).mean()
    got = penalty(network, see(network, inputs))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-9)  # the teacher's are float32
    got.backward()
    assert network.body.conv.weight.grad[:2].any() and not network.body.conv.weight.grad[2].any()


def test_layers_are_summed_and_channels_alike_by_default(network, inputs, see, built, moved):
    both = built(DELTA(layers=("features", "body.conv")), network)
    parts = [built(DELTA(layers=(name,)), network) for name in ("features", "body.conv")]
    moved(network)
    batch = see(network, inputs)
    torch.testing.assert_close(both(network, batch), sum(p(network, batch) for p in parts))
    with pytest.raises(UsageError, match=r"body\.norm"):
        built(DELTA(layers=("body.norm",)), network)


def test_the_channel_that_carries_the_label_gets_the_weight():
    class Two(torch.nn.Module):
        num_features = 2

        def __init__(self):
            super().__init__()
            self.split = torch.nn.Identity()

        def forward(self, x):
            return self.split(x)

    network = Network(Two(), 2)
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[-4.0, 0.0], [4.0, 0.0]]))
        network.head.bias.zero_()
    y = torch.arange(20) % 2
    x = torch.stack([2.0 * y - 1, torch.randn(20)], dim=1)
    kept = copy.deepcopy(network.state_dict())
    weights = channel_attention(network, x, y, "body.split")
    # without the first channel the loss is log 2, with it about 0: softmax of (0.693, 0)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 1 / 3]), rtol=0, atol=2e-3)
    assert network.training and not network.body.split._forward_hooks
    assert all(torch.equal(v, kept[n]) for n, v in network.state_dict().items())
