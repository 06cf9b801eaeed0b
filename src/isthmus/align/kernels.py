"""Layer 4: Gaussian kernel matrices of a batch, through which a gradient can pass.

The same quantity as `isthmus.discrepancy.mmd` measures, for one batch at a time: biased
(V-statistic), so that it is defined for a batch of one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isthmus.align.views import full_precision
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
        # no distance changes by it, and rows far from the origin keep their digits
        pooled = pooled - pooled.mean(0).detach()
        norms = pooled.square().sum(1)
        squared = (norms[:, None] + norms[None, :] - 2 * pooled @ pooled.T).clamp_min(0)
        median = _median(squared.detach())
        found: Tensor = _Mixture.apply(squared / (-2 * median), factors)  # type: ignore[no-untyped-call]
        return found


class _Mixture(torch.autograd.Function):
    """``mean_f exp(x / f^2)`` of each entry; one product on the way back for all kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: tuple[float, ...]) -> Tensor:
        total, slope = torch.zeros_like(x), torch.zeros_like(x)
        for f in factors:
            each = (x / f**2).exp_()
            total += each
            slope.add_(each, alpha=1 / f**2)
        ctx.save_for_backward(slope.div_(len(factors)))
        return total.div_(len(factors))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, None


def discrepancy(gram: Tensor, count: int) -> Tensor:
    """Squared MMD from a kernel matrix whose first `count` rows are the source.

    Mean over source pairs, plus mean over target pairs, minus twice the mean over mixed ones
    (Gretton et al. 2012, eq. 5): w' K w, with weights 1 / n_s and -1 / n_t.
    """
    weights = gram.new_full((len(gram),), -1 / max(len(gram) - count, 1))
    weights[:count] = 1 / count
    return weights @ gram @ weights


def _median(squared: Tensor) -> Tensor:
    """Median of the positive squared distances, as NumPy takes it; 1 where there are none."""
    upper = torch.triu_indices(len(squared), len(squared), 1, device=squared.device)
    pairs = squared[upper[0], upper[1]]
    none = int((pairs <= 1e-12 * pairs.amax().clamp_min(1e-30)).sum()) if len(pairs) else 0
    count = len(pairs) - none
    if not count:
        return squared.new_ones(())
    # the ones that are not positive come first: selecting two places costs less than sorting all
    low, high = (pairs.kthvalue(none + k + 1).values for k in ((count - 1) // 2, count // 2))
    return (low + high) / 2
