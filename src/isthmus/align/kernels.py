"""Layer 4: Gaussian kernel matrices of a batch, through which a gradient can pass.

The same quantity as `isthmus.discrepancy.mmd` measures, for one batch at a time: biased
(V-statistic), so that it is defined for a batch of one.
"""

from __future__ import annotations

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
        scaled = squared / (-2 * median)
        return torch.stack([torch.exp(scaled / f**2) for f in factors]).mean(0)


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
    pairs = squared[upper[0], upper[1]].sort().values
    positive = pairs[pairs > 1e-12 * pairs.amax().clamp_min(1e-30)] if len(pairs) else pairs
    if not len(positive):
        return squared.new_ones(())
    return (positive[(len(positive) - 1) // 2] + positive[len(positive) // 2]) / 2
