"""Domains count alike whatever their rows; weights are relative."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.discriminator import (  # noqa: E402
    Discriminator,
    domain_accuracy,
    domain_loss,
    slope_penalty,
    weighted_mean,
)


def test_the_loss_is_the_mean_of_two_cross_entropies():
    s, t = torch.randn(5).double(), torch.randn(11).double()
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    wanted = (bce(s, torch.ones_like(s)) + bce(t, torch.zeros_like(t))) / 2
    torch.testing.assert_close(domain_loss(s, t), wanted)
    torch.testing.assert_close(domain_loss(s.repeat(4), t), wanted)


def test_weights_pick_rows_and_have_no_scale():
    s, t = torch.randn(4).double(), torch.randn(3).double()
    w = torch.tensor([1.0, 1.0, 0.0, 0.0]).double()
    torch.testing.assert_close(domain_loss(s, t, w), domain_loss(s[:2], t))
    torch.testing.assert_close(domain_loss(s, t, 7 * w), domain_loss(s, t, w))
    assert weighted_mean(s, torch.zeros(4).double()) == 0


def test_accuracy_is_balanced():
    s, t = torch.tensor([1.0, 1.0, 1.0, -1.0]), torch.tensor([1.0])
    assert domain_accuracy(s, t).item() == pytest.approx((0.75 + 0) / 2)


def test_widths_and_a_batch_of_one():
    net = Discriminator(4, (6, 2))
    assert [p.shape for p in net.parameters() if p.ndim == 2] == [(6, 4), (2, 6), (1, 2)]
    assert net(torch.zeros(1, 4)).shape == (1,)
    assert sum(p.numel() for p in Discriminator(4, ()).parameters()) == 5


@pytest.mark.parametrize("hidden", [(), (3,), (40,), (6, 5)])
@pytest.mark.parametrize("sizes", [(7, 4), (1, 1)])
def test_the_slope_in_closed_form_is_that_of_autograd(hidden, sizes):
    """The penalty and its gradient against two backward passes, the way it is usually written."""
    net = Discriminator(9, hidden).double()
    z = torch.randn(sum(sizes), 9).double()
    points = z.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(net(points).sum(), points, create_graph=True)
    parts = slope.square().sum(1).split(sizes)
    wanted = torch.stack([part.mean() for part in parts]).mean()
    leaf = z.clone().requires_grad_(True)
    odds, along = net.judged(net[0](leaf))
    torch.testing.assert_close(odds, net(z))
    found = slope_penalty(along, net[0].weight, *sizes)
    torch.testing.assert_close(found, wanted)
    weights = [p for p in net.parameters() if p.ndim == 2]
    for a, b in zip(
        torch.autograd.grad(found, weights, retain_graph=True),
        torch.autograd.grad(wanted, weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    assert torch.autograd.grad(found, leaf, allow_unused=True) == (None,)
