"""Layer 5: the one product that linear heads end in."""

from __future__ import annotations

import numpy as np

from isthmus.fit.base import row_blocks
from isthmus.types import Array


def linear_scores(X: Array, coef: Array, intercept: Array) -> Array:
    """(n, K) ``X coef' + intercept`` in float64, block by block."""
    out = np.empty((len(X), len(coef)))
    for part in row_blocks(len(X), X.shape[1]):
        out[part] = X[part].astype(np.float64, copy=False) @ coef.T + intercept
    return out
