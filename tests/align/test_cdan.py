"""CDAN with a constant prediction is DANN; its random map keeps inner products."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.cdan import CDAN  # noqa: E402
from isthmus.align.dann import DANN  # noqa: E402


@pytest.mark.parametrize("entropy", [True, False])
def test_with_a_constant_prediction_it_is_dann(pair, built, entropy):
    source, target = pair()
    constant = torch.tensor([0.3, -1.0, 0.9]).double()
    source, target = (
        dataclasses.replace(batch, logits=constant.expand(len(batch.features), 3).clone())
        for batch in (source, target)
    )
    p = constant.softmax(0)
    dann = built(DANN(hidden=(7,), strength=0.4, opposed="both"))
    cdan = built(CDAN(hidden=(7,), strength=0.4, entropy=entropy, opposed="both"))
    state = dann.discriminator.state_dict()
    # the first layer reads p (x) z: with p (x) W / |p|^2 it puts out W z
    state["0.weight"] = torch.kron(p[None], state["0.weight"]) / (p @ p)
    cdan.discriminator.load_state_dict(state)
    a, b = dann(source, target, 0.3), cdan(source, target, 0.3)
    torch.testing.assert_close(a, b)
    leaves = [source.features, target.features]
    for x, y in zip(torch.autograd.grad(a, leaves), torch.autograd.grad(b, leaves), strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("limit", [4096, 4])
def test_what_is_read_is_the_outer_product_or_the_random_one(built, limit):
    cdan = built(CDAN(max_size=limit, random_size=11))
    z, p = torch.randn(4, 5).double(), torch.rand(4, 3).double()
    wanted = torch.einsum("nk,nd->nkd", p, z).reshape(4, 15)
    if cdan.random:
        wanted = (z @ cdan.draw_f) * (p @ cdan.draw_g)
    torch.testing.assert_close(cdan.read(z, p), wanted)


def test_the_random_map_keeps_inner_products_on_average(built):
    cdan = built(CDAN(max_size=10, random_size=20_000))
    assert cdan.random and "draw_f" in cdan.state_dict()
    draw = torch.Generator().manual_seed(0)  # the tolerance is meant for these rows
    z = torch.randn(6, 5, generator=draw).double()
    p = torch.rand(6, 3, generator=draw).double()
    mapped = cdan.read(z, p)
    exact = (z @ z.T) * (p @ p.T)
    spread = exact.diagonal().mean().item()
    torch.testing.assert_close(mapped @ mapped.T, exact, rtol=0, atol=0.1 * spread)


def test_the_size_decides_which_map():
    for limit, random in ((15, False), (14, True)):
        cdan = CDAN(max_size=limit)
        cdan.build(5, 3)
        assert cdan.random is random


def test_sure_rows_weigh_more(pair, built):
    source, target = pair(n=2, m=2)
    sure = torch.tensor([[50.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).double()
    source = dataclasses.replace(source, logits=sure)
    cdan = built(CDAN(gamma=None, opposed="both"))
    cdan(source, target, 1.0).backward()
    weighted = source.features.grad.clone()
    source.features.grad = None
    built_plain = built(CDAN(gamma=None, entropy=False, opposed="both"))
    built_plain(source, target, 1.0).backward()
    plain = source.features.grad
    w = torch.tensor([2.0, 1 + 1 / 3]).double()  # exp(-log 3) = 1/3
    torch.testing.assert_close(weighted, plain * (2 * w / w.sum())[:, None])
