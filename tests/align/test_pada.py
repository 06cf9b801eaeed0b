"""PADA finds the classes that the target lacks and weighs task and domain loss by them."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.class_shares import ClassShares, effective_size  # noqa: E402
from isthmus.align.dann import DANN  # noqa: E402
from isthmus.align.pada import PADA  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402


def test_with_equal_shares_it_is_dann(pair, built):
    source, target = pair()
    target = dataclasses.replace(target, logits=torch.zeros(9, 3).double())
    a = built(PADA(strength=0.4, hidden=(6,)))(source, target, 0.5)
    b = built(DANN(strength=0.4, hidden=(6,)))(source, target, 0.5)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("trade_off", [1.0, 0.2])
def test_with_the_plain_task_loss_it_makes_the_weighted_one(pair, built, trade_off):
    source, target = pair()
    logits = torch.tensor([[9.0, 9.0, -9.0]]).double().expand(9, 3)
    target = dataclasses.replace(target, logits=logits)
    pada = built(PADA(momentum=0.0, trade_off=trade_off))
    total = pada(source, target, 0.0) * trade_off
    losses = torch.nn.functional.cross_entropy(source.logits, source.labels, reduction="none")
    shares = logits[0].softmax(0)
    w = (shares / shares.max())[source.labels]
    s, t = (pada.discriminator(b.features) for b in (source, target))
    bce = torch.nn.functional.softplus
    adversarial = ((w * bce(-s)).sum() / w.sum() + bce(t).mean()) / 2
    wanted = (w * losses).sum() / w.sum() + trade_off * adversarial
    torch.testing.assert_close(total + losses.mean(), wanted)
    assert pada.figures["effective_classes"].item() == pytest.approx(2, abs=1e-4)


def test_shares_follow_the_target_in_training_only():
    shares = ClassShares(2, 0.9)
    logits = torch.tensor([[50.0, 0.0]])
    shares(logits)
    torch.testing.assert_close(shares.shares, torch.tensor([0.55, 0.45]))
    shares.eval()(logits)
    torch.testing.assert_close(shares.state_dict()["shares"], torch.tensor([0.55, 0.45]))
    assert effective_size(torch.ones(4)).item() == 4


def test_rows_without_a_label_have_no_task_loss(pair, built):
    source, target = pair()
    nothing = dataclasses.replace(source, labels=torch.full_like(source.labels, -1))
    built(PADA())(nothing, target, 0.5).backward()
    assert not source.logits.grad.any() and target.features.grad.any()
    with pytest.raises(UsageError, match="no labels"):
        built(PADA())(dataclasses.replace(source, labels=None), target, 0.5)
