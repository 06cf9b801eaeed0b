"""Checkpoints give back what they took: every type of tensor, and what modules keep beside them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep import checkpoint  # noqa: E402
from isthmus.fit.deep.ema import MovingAverage  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.surgery import state_of  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402


def keep(folder, tensors):
    checkpoint.save(folder, step=1, tensors=tensors, lines=[], identity={}, facts={})
    return checkpoint.load(folder, identity={})[1]


@pytest.mark.parametrize("kind", checkpoint.KINDS, ids=str)
def test_every_type_of_tensor_comes_back(tmp_path, kind):
    given = torch.tensor([0, 1, 1]).to(kind)
    found = keep(tmp_path, {"a": given, "state": {"rows": 3, "names": ["x"], "rate": 0.1}})
    assert found["a"].dtype == kind and found["a"].tolist() == given.tolist()
    assert found["state"] == {"rows": 3, "names": ["x"], "rate": 0.1}


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
@pytest.mark.filterwarnings("ignore:.*quantize:DeprecationWarning")
def test_what_cannot_come_back_is_refused_by_name_and_the_last_checkpoint_stays(tmp_path):
    keep(tmp_path, {"a": torch.ones(2)})
    odd = {
        "complex128": torch.ones(2, dtype=torch.complex128),
        "sparse": torch.eye(2).to_sparse(),
        "qint8": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "meta device": torch.ones(2, device="meta"),
        "tuple": (1, 2),
        "bytes": b"12",
        "ndarray": np.ones(2),
        "dict": {1: "one"},
        "float": float("nan"),
    }
    for said, value in odd.items():
        with pytest.raises(UsageError, match=rf"'part/odd' cannot be kept.*{said}"):
            keep(tmp_path, {"a": torch.zeros(2), "part/odd": value})
        assert checkpoint.load(tmp_path, identity={})[1]["a"].tolist() == [1, 1]


class Remembering(nn.Linear):
    """A layer that counts, in a state that is no tensor."""

    num_features = 4

    def __init__(self):
        super().__init__(3, 4)
        self.seen = 0

    def forward(self, x):
        self.seen += self.training
        return super().forward(x)

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = state["seen"]


def rows():
    X = np.random.default_rng(0).normal(size=(16, 3)).astype("f4")
    return Rows(X, np.arange(16) % 2)


class Killed(Exception):
    pass


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_with_such_a_layer_goes_on_where_it_was(tmp_path, ema):
    settings = Settings(epochs=3, batch_size=4, ema=ema)

    def run(folder=None, stop=None):
        def on_step(done, total):
            if done == stop:
                raise Killed

        torch.manual_seed(0)
        net = Network(Remembering(), 2)
        train(net, TaskAlignment(), source=rows(), settings=settings, folder=folder,
              on_step=on_step)  # fmt: skip
        return net

    want = run()
    assert want.body.seen == 12
    with pytest.raises(Killed):
        run(tmp_path, stop=6)
    found = run(tmp_path)
    assert found.body.seen == 12
    assert all(torch.equal(found.state_dict()[n], t) for n, t in want.state_dict().items()
               if isinstance(t, torch.Tensor))  # fmt: skip


def test_a_state_that_no_checkpoint_can_hold_is_refused_before_the_first_step(tmp_path):
    class Odd(Remembering):
        def get_extra_state(self):
            return object()

    steps, settings = [], Settings(epochs=1, batch_size=4)

    def run(folder):
        train(Network(Odd(), 2), TaskAlignment(), source=rows(), folder=folder, settings=settings,
              on_step=lambda done, total: steps.append(done))  # fmt: skip

    with pytest.raises(UsageError, match=r"'network/body\._extra_state' cannot be kept.*object"):
        run(tmp_path)
    assert not steps
    run(None)
    assert len(steps) == 4


class Sized(nn.Module):
    """A complex weight, and a buffer that grows."""

    def __init__(self):
        super().__init__()
        self.turn = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.register_buffer("kept", torch.zeros(1))


def test_the_average_follows_complex_weights_and_buffers_of_any_size():
    net = Sized()
    average = MovingAverage(net, 0.5)
    with torch.no_grad():
        net.turn.mul_(1 + 2j)
    net.kept = torch.ones(3)
    average.update(100)
    torch.testing.assert_close(average.state()["turn"], torch.full((2,), 1 + 1j))
    assert average.state()["kept"].tolist() == [1, 1, 1]
    average.restore(state_of(net))
    with average.applied():
        assert torch.equal(net.turn.detach(), torch.full((2,), 1 + 2j))
