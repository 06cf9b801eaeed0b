"""Bi-Tuning: contrast against a formula, a queue by class, a slow copy that follows."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.fit.deep.regularize.bi_tuning import BiTuning, contrast  # noqa: E402


def test_contrast_with_one_own_key_is_a_cross_entropy():
    similarity = torch.randn(5, 7).double()
    own = torch.tensor([0, 3, 6, 2, 2])
    same = torch.nn.functional.one_hot(own, 7).bool()
    wanted = torch.nn.functional.cross_entropy(similarity / 0.1, own)
    torch.testing.assert_close(contrast(similarity, same, 0.1), wanted)


def test_the_first_step_has_the_batchs_own_keys_only(network, inputs, see, built):
    penalty = built(BiTuning(width=4, temperature=0.5), network)
    batch = see(network, inputs)
    y, unit = batch.labels, torch.nn.functional.normalize
    same = y[:, None] == y[None]
    w, h = unit(network.head.weight, dim=1), unit(batch.features, dim=1)
    q = unit(penalty.projector(batch.features), dim=1)
    wanted = contrast(w[y] @ h.T, same, 0.5) + contrast(q @ q.T.detach(), same, 0.5)
    got = penalty(network, batch)
    torch.testing.assert_close(got, wanted)
    got.backward()
    assert network.head.weight.grad.any() and penalty.projector.weight.grad.any()
    assert network.body.conv.weight.grad.any()
    assert all(p.grad is None for p in penalty.slow.parameters())


def test_the_queue_keeps_the_last_keys_of_each_class(network, inputs, see, built):
    penalty = built(BiTuning(queue=3, width=4), network)
    batch = see(network, inputs)  # labels 0 1 2 0 1 2 0 1
    penalty(network, batch)
    assert penalty.filled.tolist() == [3, 3, 2]
    kept = penalty.slow.features(inputs)
    torch.testing.assert_close(penalty.keys_h[2, :2], kept[[2, 5]])
    penalty(network, batch)
    assert penalty.filled.tolist() == [3, 3, 3]
    assert "keys_h" in penalty.state_dict()


def test_the_slow_copy_follows_slowly(network, inputs, see, built, moved):
    penalty = built(BiTuning(momentum=0.9, width=4), network)
    start = network.head.weight.detach().clone()
    moved(network)
    penalty(network, see(network, inputs))
    wanted = 0.9 * start + 0.1 * network.head.weight.detach()
    torch.testing.assert_close(penalty.slow.head.weight.detach(), wanted)
