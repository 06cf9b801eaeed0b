"""Bi-Tuning: contrast against a formula, a queue by class, a slow copy that follows."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.regularize.bi_tuning import BiTuning, contrast, read_last  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


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


def test_of_a_dense_head_it_sees_what_the_last_layer_reads(network, inputs, built):
    """The same as with the dense layers in the bottleneck and the last one as the head."""
    nn = torch.nn
    inner = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()).double()
    last = nn.Linear(5, 3).double()
    network.body.conv._forward_hooks.clear()  # `network` looks at it; these two do not
    deep = Network(network.body, 3, head=nn.Sequential(*inner, last))
    plain = Network(network.body, 3, bottleneck=nn.Sequential(*inner, nn.Identity()), head=last)
    values = []
    for net in (deep.eval(), plain.eval()):
        z = net.features(inputs)
        batch = DomainBatch(z, net.head(z), torch.arange(len(inputs)) % 3, inputs)
        values.append(built(BiTuning(width=4), net).eval()(net, batch))
    torch.testing.assert_close(values[0], values[1])
    values[0].backward()
    assert last.weight.grad.any() and inner[0].weight.grad.any()
    assert read_last(last, inputs) is inputs


def test_reading_a_head_once_more_moves_no_statistics():
    nn = torch.nn
    head = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    z = torch.randn(4, 6)
    kept = {name: value.clone() for name, value in head.state_dict().items()}
    found = read_last(head, z)
    assert all(torch.equal(value, kept[name]) for name, value in head.state_dict().items())
    torch.testing.assert_close(found, head[:3](z))
    assert not head[3]._forward_pre_hooks


def test_a_head_without_a_row_of_weights_a_class_is_refused(network, built):
    network.head = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.LayerNorm(4))
    with pytest.raises(UsageError, match="4 values for 3 classes"):
        built(BiTuning(), network)
    network.head = torch.nn.LayerNorm(6)
    with pytest.raises(UsageError, match=r"has no linear layer.*make_head"):
        built(BiTuning(), network)
