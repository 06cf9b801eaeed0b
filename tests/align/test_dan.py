"""DAN is the discrepancy's multi-kernel MMD, one batch at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.dan import DAN  # noqa: E402
from isthmus.align.kernels import discrepancy, joint_gram  # noqa: E402
from isthmus.discrepancy.mmd import mmd  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402


@pytest.mark.parametrize("sizes", [(12, 9), (40, 40), (2, 30)])
def test_it_is_the_mmd_of_the_discrepancies(pair, sizes):
    source, target = pair(*sizes)
    wanted = mmd(source.features.detach(), target.features.detach(), kernel="multi", unbiased=False)
    assert DAN()(source, target, 0.0).item() == pytest.approx(wanted, rel=1e-10)


def test_layers_are_summed_and_can_be_named(pair):
    source, target = pair()
    source, target = (
        dataclasses.replace(b, layers={"conv": b.features.reshape(-1, 5, 1, 1) ** 2})
        for b in (source, target)
    )
    parts = [DAN(layers=(name,))(source, target, 0.0) for name in ("features", "logits", "conv")]
    whole = DAN(layers=("features", "logits", "conv"))(source, target, 0.0)
    torch.testing.assert_close(whole, sum(parts))
    with pytest.raises(UsageError, match="conv"):
        DAN(layers=("conv2",))(source, target, 0.0)


def test_the_gradient_is_that_of_finite_differences_at_a_fixed_ruler(pair):
    source, target = pair(6, 5)
    z = source.features.detach().clone().requires_grad_(True)
    both = torch.cat([source.features, target.features]).detach()
    squared = torch.cdist(both, both).square()
    median = squared[torch.triu(torch.ones(11, 11), 1) > 0].sort().values
    median = (median[(55 - 1) // 2] + median[55 // 2]) / 2  # held fixed: it has no gradient

    def by_hand(z):
        pooled = torch.cat([z, target.features.detach()])
        d = (pooled[:, None] - pooled[None]).square().sum(2)
        gram = sum(torch.exp(-d / (2 * f * f * median)) for f in (0.25, 0.5, 1, 2, 4)) / 5
        return gram[:6, :6].mean() + gram[6:, 6:].mean() - 2 * gram[:6, 6:].mean()

    ours = discrepancy(joint_gram(z, target.features.detach()), 6)
    torch.testing.assert_close(ours, by_hand(z))
    torch.testing.assert_close(
        torch.autograd.grad(ours, z)[0], torch.autograd.grad(by_hand(z), z)[0]
    )


def test_rows_far_from_the_origin_keep_their_digits(pair):
    source, target = pair(dtype=torch.float32)
    near = DAN()(source, target, 0.0)
    far = [dataclasses.replace(b, features=b.features.detach() + 1000) for b in (source, target)]
    assert DAN()(*far, 0.0).item() == pytest.approx(near.item(), rel=1e-2)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("sizes", [(6, 5), (1, 1), (1, 7), (30, 20)])
def test_kernels_and_their_gradient_are_those_of_autograd(sizes, dtype, close):
    """For any gradient of the matrix, also one that is not symmetric."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(sum(sizes), 4, generator=draw).to(dtype)
    rows[-1] = rows[0]  # a pair at distance 0, which the median leaves out
    z = rows.requires_grad_(True)
    upstream = torch.randn(len(z), len(z), generator=draw).to(dtype)
    squared = (z[:, None] - z[None]).square().sum(2)
    chosen = squared.detach()[torch.triu(torch.ones_like(squared), 1) > 0]
    chosen = chosen[chosen > 0]
    median = np.median(chosen.numpy()) if len(chosen) else 1.0
    wanted = sum(torch.exp(-squared / (2 * f * f * median)) for f in (0.25, 0.5, 1, 2, 4)) / 5
    found = joint_gram(*z.split(sizes))
    torch.testing.assert_close(found, wanted, rtol=close, atol=close)
    a, b = (torch.autograd.grad((gram * upstream).sum(), z)[0] for gram in (found, wanted))
    torch.testing.assert_close(a, b, rtol=close, atol=close)


def test_a_second_derivative_is_refused():
    z = torch.randn(5, 3, requires_grad=True)
    with pytest.raises(UsageError, match="cannot be differentiated"):
        torch.autograd.grad(joint_gram(z[:2], z[2:]).sum(), z, create_graph=True)


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_are_no_ruler(seed):
    """Rows that repeat are as far apart as sums round, in single precision more than a little."""
    rng = np.random.default_rng(seed)
    few = rng.normal(size=(5, 300))
    xs, xt = (few[rng.choice(5, 40, p=[0.8, 0.1, 0.1, 0, 0])] for _ in range(2))
    gram = joint_gram(torch.from_numpy(xs).float(), torch.from_numpy(xt).float())
    wanted = mmd(xs, xt, kernel="multi", unbiased=False)
    assert discrepancy(gram, 40).item() == pytest.approx(wanted, abs=1e-5)
