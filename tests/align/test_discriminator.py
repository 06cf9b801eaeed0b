"""Domains count alike whatever their rows; weights are relative."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.discriminator import (  # noqa: E402
    Discriminator,
    domain_accuracy,
    domain_loss,
    signed_shares,
    weighted_mean,
)
from isthmus.errors import UsageError  # noqa: E402


def loss_of(source, target, weights=None):
    odds = torch.cat([source, target])
    return domain_loss(odds, signed_shares(odds, len(source), weights))


def test_the_loss_is_the_mean_of_two_cross_entropies():
    s, t = torch.randn(5).double(), torch.randn(11).double()
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    wanted = (bce(s, torch.ones_like(s)) + bce(t, torch.zeros_like(t))) / 2
    torch.testing.assert_close(loss_of(s, t), wanted)
    torch.testing.assert_close(loss_of(s.repeat(4), t), wanted)


def test_weights_pick_rows_and_have_no_scale():
    s, t = torch.randn(4).double(), torch.randn(3).double()
    w = torch.tensor([1.0, 1.0, 0.0, 0.0]).double()
    torch.testing.assert_close(loss_of(s, t, w), loss_of(s[:2], t))
    torch.testing.assert_close(loss_of(s, t, 7 * w), loss_of(s, t, w))
    torch.testing.assert_close(loss_of(s, t, 0 * w), loss_of(s[:0], t))
    assert weighted_mean(s, torch.zeros(4).double()) == 0


def test_accuracy_is_balanced():
    s, t = torch.tensor([1.0, 1.0, 1.0, -1.0]), torch.tensor([1.0])
    found = domain_accuracy(torch.cat([s, t]), signed_shares(torch.cat([s, t]), len(s)))
    assert found.item() == pytest.approx((0.75 + 0) / 2)


def test_widths_and_a_batch_of_one():
    net = Discriminator(4, (6, 2))
    assert [p.shape for p in net.parameters() if p.ndim == 2] == [(6, 4), (2, 6), (1, 2)]
    assert net(torch.zeros(1, 4)).shape == (1,)
    assert sum(p.numel() for p in Discriminator(4, ()).parameters()) == 5


def by_autograd(net, z):
    """Odds and squared slopes by two backward passes."""
    points = z.detach().clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(net(points).sum(), points, create_graph=True)
    return net(z), slope.square().sum(1)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("hidden", [(), (3,), (40,), (6, 5), (8, 7, 6)])
@pytest.mark.parametrize("sizes", [(7, 4), (1, 1), (0, 1)])
def test_odds_slopes_and_gradients_in_closed_form_are_those_of_autograd(
    hidden, sizes, dtype, close
):
    draw = torch.Generator().manual_seed(1)
    n = sum(sizes)
    z = torch.randn(n, 9, generator=draw).to(dtype).requires_grad_(True)
    net = Discriminator(9, hidden).to(dtype)
    with torch.no_grad():
        for parameter in net.parameters():  # biases that matter
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / 2)
    shares = signed_shares(z[:, 0], sizes[0], torch.rand(sizes[0], generator=draw))

    def gradients(odds, squares):
        loss = domain_loss(odds, shares) + 3 * squares @ signed_shares(odds, sizes[0]).abs()
        leaves = [z, *net.parameters()]
        return loss, torch.autograd.grad(loss, leaves)

    tolerance = {"rtol": close, "atol": close}
    wanted, found = by_autograd(net, z), net.judged(z)
    torch.testing.assert_close(found, wanted, **tolerance)
    torch.testing.assert_close(gradients(*found), gradients(*wanted), **tolerance)


def test_one_of_the_two_alone_has_its_gradient_and_the_slope_leaves_the_features():
    net, z = Discriminator(4, (6, 2)).double(), torch.randn(5, 4).double().requires_grad_(True)
    weights = [p for p in net.parameters() if p.ndim == 2]
    wanted, found = by_autograd(net, z), net.judged(z)
    for k in (0, 1):
        a, b = (torch.autograd.grad(pair[k].sum(), weights, retain_graph=True)
                for pair in (found, wanted))  # fmt: skip
        torch.testing.assert_close(a, b)
    assert not torch.autograd.grad(found[1].sum(), z)[0].any()


def test_a_second_derivative_is_refused():
    net, z = Discriminator(4, (6,)), torch.randn(5, 4, requires_grad=True)
    odds, _ = net.judged(z)
    with pytest.raises(UsageError, match="cannot be differentiated"):
        torch.autograd.grad(odds.sum(), z, create_graph=True)
