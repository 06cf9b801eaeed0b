"""MDD against its formula in NumPy, and the directions of both players."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.gradient_reversal import gradient_reversal  # noqa: E402
from isthmus.align.mdd import MDD, log_others  # noqa: E402


def test_the_loss_is_the_papers(pair, built):
    source, target = pair()
    mdd = built(MDD(margin=3.0, hidden=4))
    a, b, c, e = (p.detach().numpy() for p in mdd.adversary.parameters())

    def proba(z):
        scores = np.maximum(z @ a.T + b, 0) @ c.T + e
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True)

    terms = []
    for batch in (source, target):
        chosen = batch.logits.detach().numpy().argmax(1)
        terms.append(proba(batch.features.detach().numpy())[np.arange(len(chosen)), chosen])
    wanted = -3 * np.log(terms[0]).mean() - np.log(1 - terms[1]).mean()
    assert mdd(source, target, 0.2).item() == pytest.approx(wanted, rel=1e-10)


def test_the_adversary_learns_to_agree_on_the_source_and_not_on_the_target(pair, built):
    source, target = pair(30, 30)
    mdd = built(MDD(strength=0.0, hidden=64))
    optimizer = torch.optim.Adam(mdd.parameters(), lr=0.02)
    for _ in range(200):
        loss = mdd(source, target, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    agree = [
        (mdd.adversary(b.features).argmax(1) == b.logits.argmax(1)).double().mean().item()
        for b in (source, target)
    ]
    assert agree[0] > 0.9 and agree[1] < 0.2
    assert not target.features.grad.any()  # strength 0: the features stay


def test_the_probability_of_the_others_is_stable():
    logits = torch.tensor([[800.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).double()
    got = log_others(logits, torch.tensor([0, 2]))
    wanted = torch.tensor([np.log(1 + np.e) - 800, np.log(2 / 3)]).double()
    torch.testing.assert_close(got, wanted)


def test_both_domains_at_once_are_as_one_after_the_other(pair, built):
    source, target = pair(5, 3)
    mdd = built(MDD(gamma=None, hidden=4, strength=0.3, opposed="both"))
    leaves = [source.features, target.features, *mdd.parameters()]
    s, t = (mdd.adversary(gradient_reversal(b.features, 0.3)) for b in (source, target))
    agree = torch.nn.functional.cross_entropy(s, source.logits.argmax(1))
    wanted = 4 * agree - log_others(t, target.logits.argmax(1)).mean()
    found = mdd(source, target, 1.0)
    torch.testing.assert_close(found, wanted)
    for a, b in zip(*(torch.autograd.grad(v, leaves) for v in (found, wanted)), strict=True):
        torch.testing.assert_close(a, b)
