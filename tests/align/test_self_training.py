"""Self-training teaches sure rows their own class and leaves the others."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.self_training import SelfTraining  # noqa: E402


def test_only_sure_rows_are_taught(pair):
    source, target = pair(m=3)
    logits = torch.tensor([[9.0, 0, 0], [0.2, 0.1, 0], [0, 3.2, 0]]).double().requires_grad_(True)
    target = dataclasses.replace(target, logits=logits)
    objective = SelfTraining(threshold=0.9, gamma=None)
    loss = objective(source, target, 0.0)
    p = logits.detach().softmax(1)
    wanted = -(p[0, 0].log() + p[2, 1].log()) / 3
    assert loss.item() == pytest.approx(wanted.item())
    assert objective.figures["pseudo_labelled"].item() == pytest.approx(2 / 3)
    loss.backward()
    assert not logits.grad[1].any()
    onehot = torch.nn.functional.one_hot(torch.tensor([0, 1]), 3)
    torch.testing.assert_close(logits.grad[[0, 2]], (p[[0, 2]] - onehot) / 3)


def test_it_grows_with_progress(pair):
    source, target = pair()
    objective = SelfTraining(threshold=0.0)
    values = [objective(source, target, p).item() for p in (0.0, 0.1, 1.0)]
    assert values[0] == 0 and 0 < values[1] < values[2]
