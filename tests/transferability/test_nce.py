"""NCE against entropies computed by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from isthmus.errors import DataError
from isthmus.transferability.nce import nce


def test_is_mutual_information_less_entropy():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 4, 200)
    y = (z + rng.integers(0, 2, 200)) % 3
    expected = mutual_info_score(z, y) - entropy(np.bincount(y) / 200)
    assert nce(z, y) == pytest.approx(expected)


def test_ends():
    y = np.array(["a", "b"] * 10)
    assert nce(y, y) == 0
    assert nce(np.zeros(20), y) == pytest.approx(-np.log(2))
    assert nce(np.arange(20), y) == 0  # one source class a row explains anything


def test_refusals():
    with pytest.raises(DataError, match="no rows"):
        nce([], [])
    with pytest.raises(DataError, match="shape"):
        nce([1, 2], [1])
