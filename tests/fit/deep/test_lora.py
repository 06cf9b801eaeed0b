"""LoRA beside weights of any precision: learned in float32, used and merged in theirs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.fit.deep.lora import add_lora, lora_parameters, merge_lora  # noqa: E402


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_updates_are_learned_in_float32_and_merged_in_the_type_of_the_weight(kind):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)
    ).to(kind)
    x = torch.randn(8, 1, 4, 4).to(kind)
    want = net(x).detach()
    assert add_lora(net, rank=2, layers=("0", "2", "4")) == ["0", "2", "4"]
    assert torch.equal(net(x), want)
    low = list(lora_parameters(net))
    assert {p.dtype for p in low} == {torch.float32}
    for _ in range(3):
        loss = net(x).float().square().mean()
        for p, gradient in zip(low, torch.autograd.grad(loss, low)):
            with torch.no_grad():
                p -= 0.1 * gradient
    moved = net(x).detach()
    assert moved.dtype == kind and not torch.equal(moved, want)
    assert merge_lora(net) == 3
    assert {p.dtype for p in net.parameters()} == {kind}
    assert torch.equal(net(x), moved)
