"""Co-Tuning: the pretrained head is taught the mixture that stands for each target class."""

from __future__ import annotations

import dataclasses
import doctest

import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.regularize import co_tuning as module  # noqa: E402
from isthmus.fit.deep.regularize.co_tuning import CoTuning, category_relationship  # noqa: E402

TABLE = torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]])


def head():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return torch.nn.Linear(6, 4).double()


def test_the_penalty_is_a_cross_entropy_with_soft_labels(network, inputs, see, built):
    old = head()
    penalty = built(CoTuning(old, TABLE.double(), trade_off=2.0), network)
    batch = see(network, inputs)
    wanted = torch.nn.functional.cross_entropy(old(batch.features), TABLE.double()[batch.labels])
    got = penalty(network, batch)
    torch.testing.assert_close(got, 2 * wanted)
    got.backward()
    assert network.body.conv.weight.grad.any() and penalty.source_head.weight.grad.any()
    assert old.weight.grad is None, "a copy is trained"
    assert network.head.weight.grad is None


def test_rows_without_a_label_are_left_out(network, inputs, see, built):
    penalty = built(CoTuning(head(), TABLE.double()), network)
    batch = see(network, inputs)
    labels = batch.labels.clone()
    labels[3:] = -1
    part = penalty(network, dataclasses.replace(batch, labels=labels))
    first = see(network, inputs[:3])
    torch.testing.assert_close(part, penalty(network, first))
    none = dataclasses.replace(batch, labels=labels * 0 - 1)
    assert penalty(network, none).item() == 0
    with pytest.raises(UsageError, match="class label"):
        penalty(network, dataclasses.replace(batch, labels=None))


def test_the_relationship_is_the_mean_prediction_of_each_class():
    p = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)).double()
    p = p / p.sum(1, keepdim=True)
    y = torch.arange(30) % 3
    table = category_relationship(p, y, 4)
    for k in range(3):
        torch.testing.assert_close(table[k], p[y == k].mean(0))
    torch.testing.assert_close(table[3], p.mean(0))
    assert doctest.testmod(module).failed == 0


def test_wrong_tables_are_refused(network, built):
    with pytest.raises(UsageError, match="shares"):
        CoTuning(head(), torch.ones(3, 4))
    with pytest.raises(UsageError, match="classes"):
        built(CoTuning(head(), TABLE[:2]), network)
