"""Batches of two domains as an objective sees them, with gradients to look at."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isthmus.types import DomainBatch  # noqa: E402


def make_pair(n=12, m=9, d=5, k=3, seed=0, dtype=torch.float64):
    """A source batch with labels and a target batch without; features and logits are leaves."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape, shift=0.0):
        values = torch.randn(*shape, generator=generator, dtype=torch.float64) + shift
        return values.to(dtype).requires_grad_(True)

    source = DomainBatch(leaf(n, d), leaf(n, k), torch.arange(n) % k)
    target = DomainBatch(leaf(m, d, shift=0.5), leaf(m, k, shift=-0.2))
    return source, target


def make_built(objective, d=5, k=3, seed=0, dtype=torch.float64):
    """The objective with its modules, drawn from `seed`; global randomness is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        objective.build(d, k)
    return objective.to(dtype)


@pytest.fixture
def pair():
    return make_pair


@pytest.fixture
def built():
    return make_built
