"""BSP against NumPy's singular values."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.bsp import BSP  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("width", [5, 40])
def test_it_is_the_sum_of_the_largest_squared_singular_values(pair, k, width):
    source, target = pair(d=width)
    loss = BSP(k=k)(source, target, 0.0)
    wanted = 0.0
    for batch in (source, target):
        values = np.linalg.svd(batch.features.detach().numpy(), compute_uv=False)
        wanted += (values[:k] ** 2).sum()
    assert loss.item() == pytest.approx(wanted, rel=1e-10)
    loss.backward()
    u, s, vt = np.linalg.svd(target.features.detach().numpy(), full_matrices=False)
    gradient = 2 * (u[:, :k] * s[:k]) @ vt[:k]
    np.testing.assert_allclose(target.features.grad.numpy(), gradient, atol=1e-9)


def test_no_direction_is_refused():
    with pytest.raises(UsageError, match="k=0"):
        BSP(k=0)
