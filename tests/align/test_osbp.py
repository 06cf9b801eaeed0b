"""OSBP: a boundary for the unknown, and a head that finds it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.osbp import OSBP, boundary_loss  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


@pytest.mark.parametrize("boundary", [0.5, 0.2])
def test_the_loss_is_a_cross_entropy_with_the_boundary(boundary):
    logits = torch.randn(7, 4).double()
    p = logits.softmax(1)[:, -1]
    wanted = torch.nn.functional.binary_cross_entropy(p, torch.full_like(p, boundary))
    torch.testing.assert_close(boundary_loss(logits, boundary), wanted)
    extreme = torch.tensor([[0.0, 0.0, 400.0]])
    assert torch.isfinite(boundary_loss(extreme, boundary))


def test_the_whole_is_source_cross_entropy_plus_boundary(pair, built):
    source, target = pair()
    osbp = built(OSBP())
    ce = torch.nn.functional.cross_entropy(osbp.head(source.features), source.labels)
    wanted = ce + boundary_loss(osbp.head(target.features), 0.5)
    torch.testing.assert_close(osbp(source, target, 0.7), wanted)


def test_rows_of_no_known_class_are_found():
    """Two known blobs and one of the target's own; a body of one layer moves the features."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 5.0]])
    ys, yt = torch.arange(60) % 2, torch.arange(90) % 3
    xs = centres[ys] + 0.5 * torch.randn(60, 2, generator=generator)
    xt = centres[yt] + 0.5 * torch.randn(90, 2, generator=generator) + 0.3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU())
        osbp = OSBP(hidden=32)
        osbp.build(32, 2)
        optimizer = torch.optim.Adam([*body.parameters(), *osbp.parameters()], lr=0.003)
        for step in range(300):
            source = DomainBatch(body(xs), torch.zeros(60, 2), ys)
            target = DomainBatch(body(xt), torch.zeros(90, 2))
            optimizer.zero_grad()
            osbp(source, target, step / 300).backward()
            optimizer.step()
    predicted = osbp.predict(body(xt))
    assert (predicted == yt).float().mean().item() > 0.9
    assert predicted.max().item() == 2
