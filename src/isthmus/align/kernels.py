"""Layer 4: Gaussian kernel matrices of a batch, through which a gradient can pass.

The same quantity as `isthmus.discrepancy.mmd` measures, for one batch at a time: biased
(V-statistic), so that it is defined for a batch of one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isthmus.align.views import full_precision, refuse_second_derivative
from isthmus.discrepancy.mmd import FACTORS


def joint_gram(zs: Tensor, zt: Tensor, factors: tuple[float, ...] = FACTORS) -> Tensor:
    """(n, n) kernel matrix of the pooled rows, source first.

    ``mean_f exp(-|x - y|^2 / (2 (f b)^2))``, b the median distance of the pooled rows. No gradient
    passes through b: it would let the network change the ruler instead of the distance.

    Parameters
    ----------
    zs, zt : tensor of shape (n_s, d), (n_t, d)
    factors : tuple of float
        Bandwidths in units of the median distance.
    """
    with torch.autocast(zs.device.type, enabled=False):
        pooled = full_precision(torch.cat([zs, zt]))
        found: Tensor = _Gram.apply(pooled, factors)  # type: ignore[no-untyped-call]
        return found


class _Gram(torch.autograd.Function):
    """All kernels of the pooled rows; on the way back one product for all of them."""

    @staticmethod
    def forward(ctx: Any, pooled: Tensor, factors: tuple[float, ...]) -> Tensor:
        # no distance changes by it, and rows far from the origin keep their digits
        pooled = pooled - pooled.mean(0)
        norms = pooled.square().sum(1)
        squared = torch.addmm(norms[:, None] + norms, pooled, pooled.T, alpha=-2).clamp_min_(0)
        scale = -0.5 / _median(squared)
        x = squared.mul_(scale)
        total, slope = torch.zeros_like(x), torch.zeros_like(x)
        for f in factors:
            each = (x / f**2).exp_()
            total += each
            slope.add_(each, alpha=1 / f**2)
        ctx.save_for_backward(pooled, slope.mul_(scale / len(factors)))
        return total.div_(len(factors))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        refuse_second_derivative("a kernel matrix")
        pooled, slope = ctx.saved_tensors
        each = gradients[0] * slope  # of the squared distances
        each = each + each.T
        return 2 * torch.addmm(pooled * each.sum(1)[:, None], each, pooled, alpha=-1), None


def discrepancy(gram: Tensor, count: int) -> Tensor:
    """Squared MMD from a kernel matrix whose first `count` rows are the source.

    Mean over source pairs, plus mean over target pairs, minus twice the mean over mixed ones
    (Gretton et al. 2012, eq. 5): w' K w, with weights 1 / n_s and -1 / n_t.
    """
    weights = gram.new_full((len(gram),), -1 / max(len(gram) - count, 1))
    weights[:count] = 1 / count
    return weights @ gram @ weights


def _median(squared: Tensor) -> float:
    """Median of the positive squared distances, as NumPy takes it; 1 where there are none."""
    n = len(squared)
    at = torch.triu_indices(n, n, 1, device=squared.device)
    chosen = squared.view(-1).index_select(0, at[0] * n + at[1])
    pairs = chosen.cpu().numpy()  # NumPy finds a place sooner than torch
    if not len(pairs):
        return 1.0
    # equal rows are as far apart as the sums above round; they come first
    rounding = max(1e-12, 10 * float(torch.finfo(squared.dtype).eps))
    none = int((pairs <= rounding * max(pairs.max(), 1e-30)).sum())
    count = len(pairs) - none
    if not count:
        return 1.0
    place = none + (count - 1) // 2
    pairs.partition(place)
    above = pairs[place] if count % 2 else pairs[place + 1 :].min()
    return float(pairs[place] + above) / 2
