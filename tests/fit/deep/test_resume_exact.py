"""Runs that go on after an exception, in layouts and stages where something might be lost."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.nrc import NRC  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.stages import adapt  # noqa: E402
from isthmus.fit.deep.strategy import make_strategy  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_images_in_channels_last_go_on_bit_for_bit(tmp_path, optimizer):
    """Moments are laid out as the weights are: fused steps pair numbers by their place."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(48, 3, 12, 12)).astype("f4")
    rows = Rows(X, rng.integers(0, 2, 48))
    settings = Settings(epochs=3, batch_size=16, channels_last=True, optimizer=optimizer, lr=0.01)

    def net():
        torch.manual_seed(0)
        body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3), torch.nn.Flatten()
        )
        return Network(body, 2, num_features=4 * 64)

    class Killed(Exception):
        pass

    def stop(done, total):
        if done == 5:
            raise Killed

    whole, again = net(), net()
    train(whole, TaskAlignment(), source=rows, settings=settings)
    with pytest.raises(Killed):
        train(net(), TaskAlignment(), source=rows, settings=settings, folder=tmp_path,
              on_step=stop)  # fmt: skip
    train(again, TaskAlignment(), source=rows, settings=settings, folder=tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("strategy", ["lp-ft", "head-only", "top-k", "bias-only"])
def test_a_stage_read_back_leaves_frozen_what_it_froze(tmp_path, strategy):
    """The stage after it goes on as if the first had just ended."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 6)).astype("f4")
    source, target = Rows(X, (X[:, 0] > 0).astype(int)), Rows((X + 1).astype("f4"))
    ended = []

    def net():
        torch.manual_seed(0)
        body = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(),
            torch.nn.Linear(8, 8), torch.nn.ReLU(),
        )  # fmt: skip
        return Network(body, 2, num_features=8)

    class Killed(Exception):
        pass

    def stop(done, total):
        ended.append(done)
        if len(ended) == total + 3:  # in the second stage
            raise Killed

    def run(network, folder=None, on_step=None):
        settings = Settings(epochs=4, batch_size=32, lr=0.01)
        adapt(network, NRC(), source=source, target=target, settings=settings, folder=folder,
              plan=make_strategy(strategy), on_step=on_step)  # fmt: skip
        return network

    whole = run(net())
    with pytest.raises(Killed):
        run(net(), tmp_path, stop)
    again = run(net(), tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
