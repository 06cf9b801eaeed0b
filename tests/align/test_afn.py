"""AFN: a constant value, and a gradient that lengthens every row by the same step."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.afn import AFN  # noqa: E402


def test_value_and_gradient_are_the_closed_form(pair):
    source, target = pair()
    loss = AFN(step=0.7)(source, target, 0.0)
    assert loss.item() == pytest.approx(2 * 0.49)
    loss.backward()
    for batch in (source, target):
        z = batch.features.detach()
        wanted = -2 * 0.7 * z / z.norm(dim=1, keepdim=True) / len(z)
        torch.testing.assert_close(batch.features.grad, wanted)


def test_norms_are_logged_and_a_row_of_zeros_is_finite(pair):
    source, target = pair()
    with torch.no_grad():
        source.features[0] = 0
    afn = AFN()
    afn(source, target, 0.0).backward()
    assert torch.isfinite(source.features.grad).all()
    wanted = target.features.norm(dim=1).mean().item()
    assert afn.figures["target_norm"].item() == pytest.approx(wanted)
