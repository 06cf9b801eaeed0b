"""ADDA: the encoders start bit-equal, the source's and the head stay, the target's moves."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.adda import ADDA  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402


def network(classes=2):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(MLP(4, (16,)), classes)


def domains(n=64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype("f4")
    return Rows(X, (X[:, 0] > 0).astype(int)), Rows((X + 1).astype("f4"))


def copy(net):
    return {name: v.clone() for name, v in net.state_dict().items()}


def test_both_encoders_are_one_when_the_second_part_begins():
    source, target = domains()
    settings = Settings(epochs=4, batch_size=32, lr=0.01)
    seen = []

    class Seen(ADDA):
        def step(self, *given):
            before = copy(self.network)
            found = super().step(*given)
            seen.append((given[2], before, copy(self.network), copy(self.fixed), found))
            return found

    train(network(), Seen(pretrain=0.5), source=source, target=target, settings=settings)
    first = [step for step in seen if step[0] < 0.5]
    second = [step for step in seen if step[0] >= 0.5]
    assert len(first) == len(second) == 4
    assert all(set(step[4]) == {"task"} for step in first)
    begun = second[0][1]  # the network as it was before the first update of the second part
    for _, _, after, fixed, log in second:
        assert {"domain", "fooled", "domain_accuracy"} == set(log)
        for name, value in begun.items():
            assert torch.equal(fixed[name], value), name
            assert torch.equal(after[name], value) == name.startswith("head."), name


def test_the_first_part_is_source_only():
    source, target = domains()
    settings = Settings(epochs=2, batch_size=32, lr=0.01)
    plain, own = network(), network()
    train(plain, TaskAlignment(), source=source, settings=settings)
    train(own, ADDA(pretrain=1.0), source=source, target=target, settings=settings)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], value, rtol=0, atol=0)


def test_a_shift_of_the_mean_is_taken_back_in_part():
    """The target is the source moved: an encoder that is taken for the source's moves it back."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)
    X = (rng.normal(size=(400, 2)) + 4 * (y[:, None] - 0.5)).astype("f4")
    Z = (X + np.float32(2.0)).astype("f4")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Network(MLP(2, (16,)), 2)
    settings = Settings(epochs=20, batch_size=100, lr=0.01)
    train(net, TaskAlignment(), source=Rows(X, y), settings=settings)

    def accuracy():
        return float((net(torch.from_numpy(Z)).argmax(1).numpy() == y).mean())

    before = accuracy()
    train(net, ADDA(pretrain=0.0, rate=0.3, hidden=()), source=Rows(X, y), target=Rows(Z),
          settings=Settings(epochs=40, batch_size=100, lr=0.01, schedule="constant"))  # fmt: skip
    assert accuracy() > before + 0.03  # from 76.5 to 82.0 %


def test_a_resumed_run_does_not_copy_again(tmp_path):
    source, target = domains()
    settings = Settings(epochs=4, batch_size=32, lr=0.01)
    whole = network()
    train(whole, ADDA(), source=source, target=target, settings=settings)

    class Killed(Exception):
        pass

    def stop(done, total):
        if done == 7:
            raise Killed

    with pytest.raises(Killed):
        train(network(), ADDA(), source=source, target=target, settings=settings,
              folder=tmp_path, on_step=stop)  # fmt: skip
    again = network()
    train(again, ADDA(), source=source, target=target, settings=settings, folder=tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
