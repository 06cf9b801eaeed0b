"""StochNorm: plain BN where p is 0 or in eval mode, running statistics where p is 1."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.regularize.stoch_norm import StochNorm, swap_stoch_norm  # noqa: E402


def layer(cls=torch.nn.BatchNorm1d):
    bn = cls(4).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (bn.weight, bn.bias, bn.running_mean):
            value.copy_(torch.randn(4, generator=generator))
        bn.running_var.copy_(torch.rand(4, generator=generator) + 0.5)
    return bn


def rows(n=10):
    return 2 * torch.randn(n, 4, generator=torch.Generator().manual_seed(1)).double() + 1


def test_without_chance_it_is_batch_normalisation_step_for_step():
    bn = layer()
    ours = StochNorm(copy.deepcopy(bn), p=0.0)
    for _ in range(3):
        torch.testing.assert_close(ours(rows()), bn(rows()))
    assert ours.state_dict().keys() == bn.state_dict().keys()
    for name, value in bn.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    torch.testing.assert_close(ours.eval()(rows()), bn.eval()(rows()))


def test_with_certainty_it_normalises_by_the_running_statistics():
    bn = layer()
    wanted = copy.deepcopy(bn).eval()(rows())
    ours = StochNorm(copy.deepcopy(bn), p=1.0)
    torch.testing.assert_close(ours(rows()), wanted)
    bn(rows())  # the statistics take in the batch all the same
    torch.testing.assert_close(ours.running_mean, bn.running_mean)


def test_each_channel_takes_one_of_the_two():
    bn = layer(torch.nn.BatchNorm2d)
    x = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    batch, running = copy.deepcopy(bn).train()(x), copy.deepcopy(bn).eval()(x)
    ours = StochNorm(copy.deepcopy(bn), p=0.5)
    seen = set()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(20):
            ours.load_state_dict(bn.state_dict())
            z = ours(x)
            of = [torch.allclose(z[:, c], running[:, c]) for c in range(4)]
            assert all(b or torch.allclose(z[:, c], batch[:, c]) for c, b in enumerate(of))
            seen |= set(enumerate(of))
    assert len(seen) == 8


def test_the_layers_of_a_network_are_swapped(network, inputs):
    wanted = network(inputs)
    swap_stoch_norm(network)
    assert isinstance(network.body.norm, StochNorm) and not network.body.norm.training
    torch.testing.assert_close(network(inputs), wanted)
    with pytest.raises(UsageError, match="no batch normalisation"):
        swap_stoch_norm(torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match="probability"):
        StochNorm(layer(), p=1.5)


def test_one_row_is_normalised_by_the_running_statistics_which_stay():
    bn = layer()
    wanted = copy.deepcopy(bn).eval()(rows(1))
    ours = StochNorm(bn, p=0.5)
    kept = copy.deepcopy(ours.state_dict())
    torch.testing.assert_close(ours(rows(1)), wanted)
    assert all(torch.equal(value, kept[name]) for name, value in ours.state_dict().items())


def test_a_layer_that_stands_twice_is_one_layer_again():
    bn = layer()
    net = swap_stoch_norm(torch.nn.Sequential(bn, torch.nn.ReLU(), bn))
    assert isinstance(net[0], StochNorm) and net[0] is net[2]
