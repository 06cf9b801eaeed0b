"""MCC against its closed form in NumPy and where it must be 0 or largest."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.mcc import MCC, class_confusion  # noqa: E402


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_closed_form(pair, temperature):
    source, target = pair(m=20, k=4)
    z = target.logits.detach().numpy() / temperature
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    h = -(p * np.log(p)).sum(1)
    w = 20 * (1 + np.exp(-h)) / (1 + np.exp(-h)).sum()
    c = np.einsum("ij,i,ik->jk", p, w, p)
    c = c / c.sum(1, keepdims=True)
    wanted = (c.sum() - np.trace(c)) / 4
    got = MCC(temperature=temperature)(source, target, 0.0)
    assert got.item() == pytest.approx(wanted, rel=1e-12)


def test_sure_predictions_confuse_nothing_and_uniform_ones_everything():
    sure = 500 * torch.eye(3).double()
    assert class_confusion(sure, 2.5).item() == pytest.approx(0, abs=1e-12)
    assert class_confusion(torch.zeros(5, 3).double(), 2.5).item() == pytest.approx(2 / 3)


def test_the_weights_are_constants():
    logits = torch.randn(6, 3).double().requires_grad_(True)
    scaled = (logits / 2.5).detach()
    w = 1 + torch.exp((scaled.softmax(1) * scaled.log_softmax(1)).sum(1))
    w = w / w.mean()

    def by_hand(z):
        p = (z / 2.5).softmax(1)
        c = p.T @ torch.diag(w) @ p
        return 1 - (c / c.sum(1, keepdim=True)).trace() / 3

    ours = torch.autograd.grad(class_confusion(logits, 2.5), logits)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(by_hand(logits), logits)[0])


@pytest.mark.parametrize("gap", [100.0, 230.0, 300.0, 1e4])
def test_a_class_that_no_row_comes_near_leaves_the_gradient_finite(gap):
    logits = torch.tensor([[3.0, 0, -gap], [0, 3, -gap], [1, 0, -gap]], requires_grad=True)
    loss = class_confusion(logits, 2.5)
    loss.backward()
    exact = logits.detach().double().requires_grad_(True)
    class_confusion(exact, 2.5).backward()
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(logits.grad[:, :2], exact.grad[:, :2].float(), atol=1e-4, rtol=1e-3)
