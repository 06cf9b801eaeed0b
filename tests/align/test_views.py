"""Layers of a batch, and the checks that several methods share."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.views import (  # noqa: E402
    entropy,
    full_precision,
    layer,
    need_classes,
    need_labels,
)
from isthmus.errors import UsageError  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402


def test_layers_by_name():
    maps = torch.randn(4, 2, 3, 3)
    batch = DomainBatch(torch.randn(4, 5), torch.randn(4, 3), layers={"conv": maps})
    assert layer(batch, "features") is not None
    torch.testing.assert_close(layer(batch, "predictions"), batch.logits.softmax(1))
    assert layer(batch, "conv").shape == (4, 18)
    with pytest.raises(UsageError, match="features, logits, predictions, conv"):
        layer(batch, "body")


def test_refusals_say_what_to_do():
    with pytest.raises(UsageError, match="DANN"):
        need_classes(1, who="MCC")
    need_classes(2, who="MCC")
    with pytest.raises(UsageError, match="no labels"):
        need_labels(DomainBatch(torch.zeros(1, 1), torch.zeros(1, 2)), who="PADA")


def test_entropy_and_precision():
    logits = torch.tensor([[0.0, 0.0], [900.0, 0.0]]).double()
    torch.testing.assert_close(entropy(logits), torch.tensor([0.6931471805599453, 0.0]).double())
    assert full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert full_precision(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
