"""BNM is minus the nuclear norm a row; its least value needs sure and spread predictions."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.bnm import BNM  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


def value(logits):
    batch = DomainBatch(torch.zeros(len(logits), 2), logits)
    return BNM()(batch, batch, 0.0).item()


def test_it_is_the_nuclear_norm(pair):
    source, target = pair()
    p = target.logits.detach().softmax(1).numpy()
    loss = BNM()(source, target, 0.0)
    assert loss.item() == pytest.approx(-np.linalg.norm(p, "nuc") / len(p), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, target.logits)
    u, _, vt = np.linalg.svd(p, full_matrices=False)
    outer = torch.from_numpy(-(u @ vt) / len(p))
    z = target.logits.detach().requires_grad_(True)
    wanted = torch.autograd.grad((z.softmax(1) * outer).sum(), z)[0]
    torch.testing.assert_close(gradient, wanted)


def test_sure_and_spread_is_least():
    spread = 500 * torch.eye(3).repeat(4, 1).double()
    assert value(spread) == pytest.approx(-((3 / 12) ** 0.5))
    one_class = 500 * torch.eye(3)[:1].repeat(12, 1).double()
    assert value(spread) < value(one_class) < value(torch.zeros(12, 3).double())
