"""RKD: what a rotation and a scale cannot change, and its loss in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.fit.deep.regularize.rkd import RKD, angles, distances  # noqa: E402


def huber(a, b):
    d = np.abs(a - b)
    return np.where(d < 1, d**2 / 2, d - 0.5).mean()


def relations(z):
    d = np.linalg.norm(z[:, None] - z[None], axis=2)
    d = d / d[d > 0].mean()
    n = len(z)
    cos = np.zeros((n, n, n))
    for i in range(n):
        for j in range(n):
            for k in range(n):
                a, b = z[j] - z[i], z[k] - z[i]
                size = np.linalg.norm(a) * np.linalg.norm(b)
                cos[i, j, k] = a @ b / size if size else 0.0
    return d, cos


def test_the_loss_is_the_papers(network, inputs, see, built, moved):
    penalty = built(RKD(distance=25.0, angle=50.0), network)
    assert penalty(network, see(network, inputs)).item() == pytest.approx(0, abs=1e-12)
    before = relations(network.features(inputs).detach().numpy())
    moved(network, 0.3)
    now = relations(network.features(inputs).detach().numpy())
    wanted = 25 * huber(now[0], before[0]) + 50 * huber(now[1], before[1])
    got = penalty(network, see(network, inputs))
    assert got.item() == pytest.approx(wanted, rel=1e-9)
    got.backward()
    assert torch.isfinite(network.body.conv.weight.grad).all()


def test_rotation_scale_and_shift_change_nothing():
    z = torch.randn(6, 4).double()
    turned = 3 * z @ torch.linalg.qr(torch.randn(4, 4).double())[0] + 5
    torch.testing.assert_close(distances(turned), distances(z))
    torch.testing.assert_close(angles(turned), angles(z))


@pytest.mark.parametrize("n", [1, 2])
def test_few_or_equal_rows_are_finite(network, inputs, see, built, moved, n):
    penalty = built(RKD(), network)
    moved(network)
    for x in (inputs[:n], inputs[:1].repeat(4, 1, 1, 1)):
        network.zero_grad()
        loss = penalty(network, see(network, x))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(network.body.conv.weight.grad).all()
