"""TENT: the step is the entropy's gradient on scales and shifts, and on nothing else."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.tent import Tent  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.freeze import freeze  # noqa: E402


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        ).eval()


def stream(seed, n=32):
    return 2 * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) + 1


def test_one_step_is_adam_on_the_entropy_by_the_batchs_statistics():
    model, x = network(), stream(0)
    twin = copy.deepcopy(model)
    logits = Tent(model, lr=0.01)(x)

    twin[1].train()
    wanted = twin(x)
    p = wanted.softmax(1)
    affine = [twin[1].weight, twin[1].bias]
    optimizer = torch.optim.Adam(affine, lr=0.01)
    (-(p * p.log()).sum(1).mean()).backward()
    optimizer.step()
    torch.testing.assert_close(logits, wanted.detach())
    torch.testing.assert_close(model[1].weight, twin[1].weight)
    torch.testing.assert_close(model[1].bias, twin[1].bias)


def test_nothing_else_moves():
    model = network()
    before = {name: v.clone() for name, v in model.state_dict().items()}
    tent = Tent(model, lr=0.01)
    for seed in range(3):
        assert not tent(stream(seed)).requires_grad
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert moved == {"1.weight", "1.bias"}
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m.training for m in model.modules())
    assert model[1].track_running_stats
    tent.reset()
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_frozen_and_unscaled_layers_normalise_by_the_batch_too():
    model, x = network(), stream(0)
    model.append(torch.nn.BatchNorm1d(3, affine=False)).eval()
    twin = copy.deepcopy(model)
    freeze(model)
    logits = Tent(model, lr=0.01)(x)
    torch.testing.assert_close(logits, twin.train()(x).detach())
    assert not torch.equal(model[1].weight, twin[1].weight)
    assert not model[1].weight.requires_grad and model[1].weight.grad is None


def test_entropy_falls_over_the_stream():
    tent = Tent(network(), lr=0.05)

    def entropy(logits):
        return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean().item()

    values = [entropy(tent(stream(seed))) for seed in range(40)]
    assert sum(values[-5:]) < 0.7 * sum(values[:5])


def test_a_single_row_is_predicted_by_the_source_and_teaches_nothing():
    model = network()
    x, before = stream(0, 1), copy.deepcopy(model.state_dict())
    with torch.no_grad():
        wanted = model(x)
    torch.testing.assert_close(Tent(model)(x), wanted)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_misuse_is_refused():
    with pytest.raises(UsageError, match="steps=0"):
        Tent(network(), steps=0)
    with pytest.raises(UsageError, match="T3A"):
        Tent(torch.nn.Linear(2, 2))
