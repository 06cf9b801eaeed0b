"""The protocol: the pretrained network is frozen, and kept out of the saved state."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import pytest

torch = pytest.importorskip("torch")

import isthmus.fit.deep.regularize as package  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.regularize.base import Regularizer, is_new  # noqa: E402
from isthmus.fit.deep.regularize.bss import BSS  # noqa: E402
from isthmus.fit.deep.regularize.rkd import RKD  # noqa: E402


def all_methods():
    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Regularizer):
                found[value.__name__] = value
    found.pop("Regularizer")
    return found


def make(name):
    if name == "CoTuning":
        return all_methods()[name](torch.nn.Linear(6, 2), torch.full((3, 2), 0.5))
    return all_methods()[name]()


@pytest.mark.parametrize("name", sorted(all_methods()))
def test_finite_with_gradients_on_the_network_and_none_on_the_pretrained(
    name, network, inputs, see, built, moved
):
    penalty = built(make(name), network)
    moved(network)
    for n in (1, 2, 8):
        loss = penalty(network, see(network, inputs[:n]))
        assert loss.shape == () and torch.isfinite(loss), n
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in network.body.parameters())
    if penalty.needs_pretrained:
        assert not penalty.pretrained.training
        assert all(not p.requires_grad for p in penalty.pretrained.parameters())
        assert all("teacher" not in key for key in penalty.state_dict())
    doubled = make(name)
    doubled.trade_off *= 2
    again = built(doubled, network)
    assert again.trade_off == 2 * penalty.trade_off


def test_the_pretrained_network_does_not_move_with_the_one_that_is_trained(
    network, inputs, built, moved
):
    penalty = built(RKD(), network)
    before = penalty.recall(inputs)
    moved(network)
    torch.testing.assert_close(penalty.recall(inputs), before)


def test_penalties_on_rows_need_the_build_first(network, inputs, see, built):
    with pytest.raises(UsageError, match="build"):
        RKD()(network, see(network, inputs))
    batch = dataclasses.replace(see(network, inputs), labels=None)
    assert torch.isfinite(built(BSS(), network)(network, batch))


def test_new_parts_by_name():
    assert is_new("head.weight", ("head",)) and is_new("head", ("head",))
    assert not is_new("header.weight", ("head",)) and not is_new("body.head.weight", ("head",))
