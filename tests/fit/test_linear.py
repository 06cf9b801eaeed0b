"""Scores of linear heads do not depend on blocks or the width of the floats."""

import numpy as np

from isthmus.fit import base
from isthmus.fit.linear import linear_scores


def test_blocks_give_the_plain_product(monkeypatch):
    rng = np.random.default_rng(0)
    X, W, b = rng.normal(size=(500, 7)), rng.normal(size=(3, 7)), rng.normal(size=3)
    monkeypatch.setattr(base, "BLOCK_BYTES", 7 * 8 * 33)
    for dtype in (np.float64, np.float32, np.float16):
        Z = X.astype(dtype)
        got = linear_scores(Z, W, b)
        assert got.dtype == np.float64
        assert np.allclose(got, Z.astype(float) @ W.T + b)
