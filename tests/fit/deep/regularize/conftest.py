"""A small network and a batch of labelled rows."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


class Body(torch.nn.Module):
    """(n, 2, 4, 4) -> (n, 6), with a convolution whose maps can be looked at."""

    num_features = 6

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3)
        self.norm = torch.nn.BatchNorm2d(3)
        self.dense = torch.nn.Linear(12, 6)

    def forward(self, x):
        return self.dense(torch.relu(self.norm(self.conv(x))).flatten(1)).tanh()


def make_network(seed=0, k=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(Body(), k, layers=("body.conv",)).double().eval()


def make_inputs(n=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 4, 4, generator=generator, dtype=torch.float64)


def make_batch(network, inputs, k=3):
    """What the network makes of the inputs, in double precision."""
    features = network.features(inputs)
    layers = {name: network._seen[name] for name in network.layers}
    return DomainBatch(
        features, network.head(features), torch.arange(len(inputs)) % k, inputs, layers=layers
    )


def make_built(regularizer, network, k=3, seed=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        regularizer.build(network, k)
    return regularizer.double()


def make_moved(network, amount=0.05, seed=5):
    """The network after some training, as it were."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(amount * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return network


@pytest.fixture
def network():
    return make_network()


@pytest.fixture
def inputs():
    return make_inputs()


@pytest.fixture
def see():
    return make_batch


@pytest.fixture
def built():
    return make_built


@pytest.fixture
def moved():
    return make_moved
