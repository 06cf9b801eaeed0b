"""Networks folded into plain products, against torch on the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import UsageError

torch = pytest.importorskip("torch")
nn = torch.nn

from isthmus.fit.deep.bodies import MLP, Standardised  # noqa: E402
from isthmus.fit.deep.chain import dense_of, state_arrays  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.surgery import make_head  # noqa: E402


def rows(n=40, d=7):
    return np.random.default_rng(1).normal(3.0, 2.0, (n, d)).astype(np.float32)


def trained_norms(module):
    """Batch norms that have seen rows and have weights that matter."""
    torch.manual_seed(0)
    module.train()
    for _ in range(3):
        module(torch.from_numpy(rows()))
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d) and part.affine:
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return module.eval()


def bn(width=7, **more):
    return nn.BatchNorm1d(width, **more)


CHAINS = {
    "plain": lambda: [nn.Linear(7, 3)],
    "mlp": lambda: [
        MLP(7, (8, 5), dropout=0.3, norm=True, first=Standardised.of(rows())), nn.Linear(5, 3)
    ],
    "norms everywhere": lambda: [
        bn(), nn.Linear(7, 8), bn(8), nn.ReLU(), bn(8, affine=False), nn.Dropout(0.5),
        nn.Linear(8, 3), bn(3),
    ],
    "two norms first": lambda: [Standardised.of(rows()), bn(), nn.Linear(7, 3)],
    "linear twice": lambda: [nn.Linear(7, 8, bias=False), nn.Linear(8, 3)],
    "flattened, gelu": lambda: [nn.Flatten(), nn.Linear(7, 8), nn.GELU(), nn.Linear(8, 3)],
    "head of tanh": lambda: [make_head(7, 3, hidden=(9, 4), activation="tanh", dropout=0.5)],
    "head of silu": lambda: [make_head(7, 3, hidden=(9,), activation="silu")],
    "sigmoid": lambda: [nn.Linear(7, 4), nn.Sigmoid(), nn.Linear(4, 3)],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_the_same_scores_as_torch(name):
    torch.manual_seed(4)
    parts = CHAINS[name]()
    whole = trained_norms(nn.Sequential(*parts))
    X = rows(100)
    with torch.inference_mode():
        expected = whole(torch.from_numpy(X)).numpy()
    found = dense_of(parts)(X)
    assert found.shape == (100, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-4)


def test_columns_far_from_zero_keep_their_digits():
    X = (rows() + 1e6).astype(np.float32)
    parts = [Standardised.of(X), nn.Linear(7, 3)]
    with torch.inference_mode():
        expected = nn.Sequential(*parts)(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(dense_of(parts)(X), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ([nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)], "Tanh"),
        ([nn.Linear(7, 4), nn.ReLU()], "linear layer"),
        ([nn.ReLU(), nn.Linear(7, 3)], "ReLU"),
        ([nn.Linear(7, 4), nn.GELU(approximate="tanh"), nn.Linear(4, 3)], "GELU"),
        ([nn.Conv1d(1, 1, 1), nn.Linear(7, 3)], "Conv1d"),
    ],
)
def test_what_has_no_plain_form_is_named(parts, named):
    with pytest.raises(UsageError, match=named):
        dense_of(parts)


def test_all_tensors_of_a_network_travel():
    network = Network(MLP(7, (5,), norm=True), 3)
    found = state_arrays(network)
    assert set(found) == set(network.state_dict())
    assert found["head.weight"].dtype == np.float32
    found["head.weight"][:] = 0  # a copy
    assert network.head.weight.abs().sum() > 0
