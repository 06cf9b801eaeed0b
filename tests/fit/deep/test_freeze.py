"""Freezing: the vectors of spectral norms stay with the weights that they belong to."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.fit.deep import surgery  # noqa: E402
from isthmus.fit.deep.freeze import freeze, freeze_depth, unfreeze  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.strategy import make_strategy  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402


def old_spectral_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nn.utils.spectral_norm(layer)


@pytest.mark.parametrize("norm", [torch.nn.utils.parametrizations.spectral_norm, old_spectral_norm])
def test_frozen_spectral_norms_keep_their_vectors(norm):
    torch.manual_seed(0)
    body = nn.Sequential(norm(nn.Linear(4, 6)), nn.ReLU(), norm(nn.Linear(6, 5)), nn.ReLU())
    net = Network(body, 2, num_features=5).train()
    x = torch.randn(8, 4)
    net(x).sum().backward()
    vectors = {n for n, b in net.body.named_buffers() if b.ndim == 1}
    assert len(vectors) == 4

    def moved(net):
        before = surgery.state_of(net.body)
        net.train()
        for _ in range(2):
            net(x)
        return {n for n in vectors if not torch.equal(net.body.state_dict()[n], before[n])}

    assert moved(net)
    freeze(net, ["body"])
    want = net.eval()(x).detach()
    twins = [net, copy.deepcopy(net)]
    if norm is old_spectral_norm:  # torch pickles no parametrized module
        twins.append(pickle.loads(pickle.dumps(net)))
    for twin in twins:
        freeze(twin, ["body"])  # every epoch asks again
        assert not moved(twin)
        assert torch.equal(twin(x), want), "in training mode too"
        unfreeze(twin, ["body.0"])
        assert moved(twin) == {n for n in vectors if n.startswith("0.")}
        unfreeze(twin)
        assert moved(twin) == vectors
    freeze_depth(net, 1)
    assert not moved(net)


@pytest.mark.parametrize("strategy", ["head-only", "lp-ft", "bias-only"])
def test_training_the_rest_leaves_a_frozen_spectral_norm_as_it_is(strategy):
    net = Network(nn.Sequential(torch.nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6))), 2)
    before = surgery.state_of(net)
    X = np.random.default_rng(0).normal(size=(32, 4)).astype("f4")
    seen = []

    def watch(network, epoch, losses):
        seen.append(surgery.state_of(network))
        return {}

    train(net, TaskAlignment(), source=Rows(X, np.arange(32) % 2), watch=watch,
          plan=make_strategy(strategy), settings=Settings(epochs=2, batch_size=8))  # fmt: skip
    norm = [n for n in before if "parametrizations" in n]
    assert len(norm) == 3
    assert all(torch.equal(seen[0][n], before[n]) for n in norm)
    if strategy == "lp-ft":  # its weights are trained in the second part
        assert not any(torch.equal(seen[1][n], before[n]) for n in norm)
