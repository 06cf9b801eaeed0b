"""Deep CORAL is the CORAL distance of the discrepancies."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.deep_coral import DeepCORAL, covariance, squared_distance  # noqa: E402
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


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("sizes", [(7, 4), (1, 5), (1, 1)])
def test_rows_fewer_than_features_give_the_same_by_the_smaller_matrix(sizes, dtype, close):
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(sum(sizes), 20, generator=draw).to(dtype).requires_grad_(True)
    zs, zt = z.split(sizes)
    found = squared_distance(zs, zt)
    wanted = (covariance(zs) - covariance(zt)).square().sum()
    torch.testing.assert_close(found, wanted, rtol=close, atol=close)
    a, b = (torch.autograd.grad(value, z)[0] for value in (found, wanted))
    torch.testing.assert_close(a, b, rtol=close, atol=close)
