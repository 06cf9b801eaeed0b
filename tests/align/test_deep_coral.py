"""Deep CORAL is the CORAL distance of the discrepancies."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.deep_coral import DeepCORAL  # noqa: E402
from isthmus.discrepancy.coral_distance import coral_distance  # noqa: E402


@pytest.mark.parametrize("layer", ["features", "logits"])
def test_it_is_the_coral_distance(pair, layer):
    source, target = pair()
    wanted = coral_distance(*(getattr(b, layer).detach() for b in (source, target)))
    got = DeepCORAL(layer=layer)(source, target, 0.0)
    assert got.item() == pytest.approx(wanted, rel=1e-12)


def test_the_gradient_is_the_papers(pair):
    source, target = pair()
    DeepCORAL()(source, target, 0.0).backward()
    zs, zt = source.features.detach(), target.features.detach()
    n, d = zs.shape
    difference = torch.cov(zs.T) - torch.cov(zt.T)
    wanted = (zs - zs.mean(0)) @ difference / (d**2 * (n - 1))  # eq. 4, symmetric part
    torch.testing.assert_close(source.features.grad, wanted)
