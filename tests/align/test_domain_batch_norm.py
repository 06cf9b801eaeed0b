"""Domain-specific BN: each domain by its own layer, equal to one network per domain."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.domain_batch_norm import (  # noqa: E402
    DomainBatchNorm,
    in_domain,
    merge_batch_norm,
    swap_batch_norm,
)
from isthmus.errors import UsageError  # noqa: E402


def network():
    return torch.nn.Sequential(
        torch.nn.Linear(3, 4),
        torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.ReLU()),
        torch.nn.Linear(4, 2),
    )


def test_each_domain_has_the_statistics_of_its_own_stream():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = network()
        a, b = torch.randn(32, 3), 4 * torch.randn(20, 3) - 2
    alone = [copy.deepcopy(plain) for _ in range(2)]
    model = swap_batch_norm(copy.deepcopy(plain))
    for _ in range(5):
        for domain, x in enumerate((a, b)):
            alone[domain](x)
            with in_domain(model, domain):
                model(x)
    model.eval()
    for domain, x in enumerate((a, b)):
        with in_domain(model, domain):
            torch.testing.assert_close(model(x), alone[domain].eval()(x))
        merged = merge_batch_norm(copy.deepcopy(model), domain)
        assert list(merged.state_dict()) == list(plain.state_dict())
        torch.testing.assert_close(merged(x), alone[domain](x))


def test_swapping_changes_nothing_at_first_and_the_domain_comes_back():
    with torch.random.fork_rng():
        plain, x = network().eval(), torch.randn(5, 3)
    wanted = plain(x)
    model = swap_batch_norm(plain, num_domains=3)
    with in_domain(model, 2):
        torch.testing.assert_close(model(x), wanted)
        with in_domain(model, 1):
            pass
        assert model[1][0].domain == 2
    assert model[1][0].domain == 2  # the target's


def test_scales_can_be_shared():
    layer = DomainBatchNorm(torch.nn.BatchNorm1d(4), share_affine=True)
    assert len(list(layer.parameters())) == 2
    assert len(list(DomainBatchNorm(torch.nn.BatchNorm1d(4)).parameters())) == 4


def test_a_network_without_bn_is_refused():
    with pytest.raises(UsageError, match="no batch normalisation"):
        swap_batch_norm(torch.nn.Linear(2, 2))
