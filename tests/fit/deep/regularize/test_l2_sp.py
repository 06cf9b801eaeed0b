"""L2-SP: zero at the start, and the closed-form gradient afterwards."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.regularize.l2_sp import L2SP  # noqa: E402


def test_value_and_gradient_are_the_closed_form(network, inputs, see, built, moved):
    penalty = built(L2SP(alpha=0.3, beta=0.7, trade_off=2.0), network)
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    moved(network)
    loss = penalty(network, see(network, inputs))
    loss.backward()
    wanted = 0.0
    for name, p in network.named_parameters():
        if name.startswith("head"):
            wanted += 0.7 / 2 * p.detach().square().sum()
            torch.testing.assert_close(p.grad, 2 * 0.7 * p.detach())
        else:
            wanted += 0.3 / 2 * (p.detach() - start[name]).square().sum()
            torch.testing.assert_close(p.grad, 2 * 0.3 * (p.detach() - start[name]))
    torch.testing.assert_close(loss, 2 * wanted)


def test_it_is_zero_at_the_start_but_for_the_head(network, inputs, see, built):
    penalty = built(L2SP(beta=0.0), network)
    assert penalty(network, see(network, inputs)).item() == 0
    assert not penalty.state_dict(), "the pretrained weights are no part of the checkpoint"


def test_frozen_weights_cost_nothing(network, inputs, see, built, moved):
    penalty = built(L2SP(beta=0.0), network)
    moved(network)
    network.requires_grad_(False)
    assert penalty(network, see(network, inputs)).item() == 0


def test_another_network_can_be_the_pretrained_one_and_must_fit(network, inputs, see, built, moved):
    other = moved(copy.deepcopy(network))
    penalty = built(L2SP(beta=0.0, pretrained=other), network)
    assert penalty(network, see(network, inputs)).item() > 0
    with pytest.raises(UsageError, match=r"body\.conv"):
        built(L2SP(pretrained=torch.nn.Linear(2, 2)), network)
