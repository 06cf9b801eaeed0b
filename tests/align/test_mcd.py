"""MCD: its discrepancy, and which of its updates moves what."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.mcd import MCD, discrepancy  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Batch, Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402


def network(classes=3, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(MLP(4, (16,)), classes, **options)


def rows(n=48, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype("f4") + np.float32(shift)
    return X, rng.integers(0, 3, n)


def built(method, net):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        method.build(net, 3, lambda parameters: torch.optim.SGD(list(parameters), lr=0.1))
    return method


def batch(X, y=None):
    return Batch(torch.from_numpy(X), None if y is None else torch.from_numpy(y),
                 torch.arange(len(X)))  # fmt: skip


def test_the_discrepancy_against_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 3))
    p, q = (np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in (a, b))
    found = discrepancy(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.item(), np.abs(p - q).sum() / 21, rtol=1e-12)
    assert discrepancy(torch.from_numpy(a), torch.from_numpy(a)).item() == 0


def test_each_update_moves_its_own_part():
    net = network()
    method = built(MCD(updates=2), net)
    assert not torch.equal(net.head.weight, method.second.weight)
    encoder = {id(p) for p in net.body.parameters()}
    heads = {id(p) for p in [*net.head.parameters(), *method.second.parameters()]}
    calls = []

    def minimise(loss, optimizers):
        chosen = {id(p) for o in optimizers for g in o.param_groups for p in g["params"]}
        calls.append((loss, chosen))

    (X, y), (Z, _) = rows(), rows(seed=1, shift=1)
    method.step(batch(X, y), batch(Z), 0.5, minimise)
    assert [chosen for _, chosen in calls] == [encoder | heads, heads, encoder, encoder]
    x, z = torch.from_numpy(X), torch.from_numpy(Z)
    task = sum(
        torch.nn.functional.cross_entropy(head(net.features(x)), torch.from_numpy(y))
        for head in (net.head, method.second)
    )
    apart = discrepancy(net.head(net.features(z)), method.second(net.features(z)))
    for (loss, _), wanted in zip(calls, (task, task - apart, apart, apart), strict=True):
        torch.testing.assert_close(loss, wanted)


def test_the_heads_move_apart_on_the_target_and_the_features_bring_them_together():
    (X, y), (Z, _) = rows(), rows(seed=1, shift=1)
    gaps = []
    for updates in (0, 4):
        net = network()
        done = train(net, MCD(updates=updates, trade_off=3.0), source=Rows(X, y), target=Rows(Z),
                     settings=Settings(epochs=15, batch_size=48, lr=0.01))  # fmt: skip
        gaps.append([line["losses"]["discrepancy"] for line in done.lines])
    assert gaps[0][-1] > 1.5 * gaps[0][0]
    assert gaps[1][-1] < 0.7 * gaps[0][-1]


def test_a_head_that_cannot_be_drawn_again_is_refused():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(16, 3))

        def forward(self, x):
            return x @ self.weight

    with pytest.raises(UsageError, match="second head"):
        built(MCD(), network(head=Odd()))


def test_accumulation_is_refused():
    (X, y), (Z, _) = rows(), rows(seed=1)
    with pytest.raises(UsageError, match="accumulate=1"):
        train(network(), MCD(), source=Rows(X, y), target=Rows(Z),
              settings=Settings(epochs=1, batch_size=16, accumulate=2))  # fmt: skip
