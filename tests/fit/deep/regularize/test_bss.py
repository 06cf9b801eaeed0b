"""BSS against NumPy's singular values."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.fit.deep.regularize.bss import BSS  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("shape", [(8, 5), (4, 9)])
def test_the_smallest_singular_values_and_their_gradient(network, built, k, shape):
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()
    z.requires_grad_(True)
    penalty = built(BSS(k=k, trade_off=0.5), network)
    loss = penalty(network, DomainBatch(z, z))
    loss.backward()
    u, s, vt = np.linalg.svd(z.detach().numpy(), full_matrices=False)
    assert loss.item() == pytest.approx(0.5 * (s[-k:] ** 2).sum(), rel=1e-10)
    wanted = 0.5 * 2 * (u[:, -k:] * s[-k:]) @ vt[-k:]
    np.testing.assert_allclose(z.grad.numpy(), wanted, atol=1e-9)


def test_descent_gives_the_direction_up(network, built):
    z = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).double()
    penalty = built(BSS(trade_off=1.0), network)
    for _ in range(50):
        z = z.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(penalty(network, DomainBatch(z, z)), z)
        z = z - 0.2 * gradient
    assert torch.linalg.matrix_rank(z.detach(), rtol=1e-3).item() == 4
