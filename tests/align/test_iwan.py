"""IWAN: rows that only the source has lose their weight."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.dann import DANN  # noqa: E402
from isthmus.align.iwan import IWAN  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


def test_with_an_undecided_weigher_it_is_dann_beside_the_weighers_loss(pair, built):
    source, target = pair()
    iwan, dann = (
        built(IWAN(entropy=0.0, strength=0.3, hidden=(6,))),
        built(DANN(strength=0.3, hidden=(6,))),
    )
    iwan.discriminator.load_state_dict(dann.discriminator.state_dict())
    with torch.no_grad():
        for parameter in iwan.weigher.parameters():
            parameter.zero_()
    wanted = dann(source, target, 0.4) + torch.log(torch.tensor(2.0)).double()
    torch.testing.assert_close(iwan(source, target, 0.4), wanted)
    assert iwan.figures["effective_rows"].item() == pytest.approx(1)


def test_outliers_of_the_source_lose_their_weight():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(40, 2, generator=generator)
    alone = torch.randn(40, 2, generator=generator) + 6
    source = DomainBatch(torch.cat([shared, alone]), torch.zeros(80, 2))
    target = DomainBatch(torch.randn(60, 2, generator=generator), torch.zeros(60, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        iwan = IWAN(hidden=(16,))
        iwan.build(2, 2)
    optimizer = torch.optim.Adam(iwan.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        iwan(source, target, 1.0).backward()
        optimizer.step()
    weights = (-iwan.weigher(source.features)).sigmoid()
    assert weights[40:].mean().item() < 0.1 * weights[:40].mean().item()
    assert iwan.figures["effective_rows"].item() < 0.65


def test_the_weigher_does_not_move_the_features_and_the_entropy_moves_the_logits(pair, built):
    source, target = pair()
    iwan = built(IWAN(strength=0.0))
    iwan(source, target, 1.0).backward()
    assert not target.features.grad.any() and target.logits.grad.any()
