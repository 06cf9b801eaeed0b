"""DeepJDOT's plan is POT's, and its loss the cost of that plan."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
ot = pytest.importorskip("ot")

from isthmus.align.deep_jdot import DeepJDOT, transport_plan  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402


def cost_by_hand(source, target, features, labels):
    zs, zt = source.features.detach().numpy(), target.features.detach().numpy()
    log_p = target.logits.detach().log_softmax(1).numpy()
    return features * ot.dist(zs, zt) - labels * log_p[:, source.labels.numpy()].T


def test_the_loss_is_the_least_transport_cost(pair):
    source, target = pair()
    cost = cost_by_hand(source, target, 0.5, 2.0)
    got = DeepJDOT(features=0.5, labels=2.0)(source, target, 0.0)
    assert got.item() == pytest.approx(ot.emd2([], [], cost), rel=1e-10)


def test_the_plan_is_a_constant_for_the_gradient(pair):
    source, target = pair()
    plan = ot.emd([], [], cost_by_hand(source, target, 0.5, 2.0))
    np.testing.assert_allclose(
        transport_plan(torch.from_numpy(cost_by_hand(source, target, 0.5, 2.0))), plan
    )
    DeepJDOT(features=0.5, labels=2.0)(source, target, 0.0).backward()
    zs, zt = source.features.detach().numpy(), target.features.detach().numpy()
    wanted = 2 * 0.5 * (plan.sum(1)[:, None] * zs - plan @ zt)
    np.testing.assert_allclose(source.features.grad.numpy(), wanted, atol=1e-12)
    onehot = np.eye(3)[source.labels.numpy()]
    p = target.logits.detach().softmax(1).numpy()
    wanted = 2.0 * (plan.sum(0)[:, None] * p - plan.T @ onehot)
    np.testing.assert_allclose(target.logits.grad.numpy(), wanted, atol=1e-12)


def test_rows_without_a_label_take_no_part(pair):
    source, target = pair()
    labels = source.labels.clone()
    labels[4:] = -1
    some = dataclasses.replace(source, labels=labels)
    first = dataclasses.replace(source, features=source.features[:4], labels=labels[:4])
    a, b = (DeepJDOT()(batch, target, 0.0) for batch in (some, first))
    torch.testing.assert_close(a, b)
    none = dataclasses.replace(source, labels=torch.full_like(labels, -1))
    assert DeepJDOT()(none, target, 0.0).item() == 0
    with pytest.raises(UsageError, match="no labels"):
        DeepJDOT()(dataclasses.replace(source, labels=None), target, 0.0)


def test_rows_far_from_the_origin_keep_their_digits(pair):
    source, target = pair()
    zs, zt = (torch.from_numpy(100 + 0.1 * b.features.detach().numpy()) for b in (source, target))
    found = []
    for kind in (torch.float64, torch.float32):
        here, there = (z.to(kind).clone().requires_grad_(True) for z in (zs, zt))
        a = dataclasses.replace(source, features=here, logits=source.logits.detach().to(kind))
        b = dataclasses.replace(target, features=there, logits=target.logits.detach().to(kind))
        DeepJDOT(features=1.0, labels=0.0)(a, b, 0.0).backward()
        found.append((here.grad.double(), there.grad.double()))
    for exact, rough in zip(*found, strict=True):
        assert (rough - exact).norm() < 1e-3 * exact.norm()
