"""Mean Teacher: the average in closed form, the squared distance, the views."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.mean_teacher import MeanTeacher, disagreement, rise  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Batch, Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402


def network(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(MLP(4, (8,), **options), 2)


def domains(n=40):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype("f4")
    return Rows(X, (X[:, 0] > 0).astype(int)), Rows((X + 1).astype("f4"))


def test_the_teacher_is_the_exponential_average_of_all_students():
    source, target = domains()
    students = []

    class Seen(MeanTeacher):
        def step(self, *given):
            if not students:
                students.append([p.detach().clone() for p in self.network.parameters()])
            found = super().step(*given)
            students.append([p.detach().clone() for p in self.network.parameters()])
            return found

    method = Seen(decay=0.8)
    train(network(), method, source=source, target=target,
          settings=Settings(epochs=3, batch_size=20, lr=0.05))  # fmt: skip
    steps = len(students) - 1
    assert steps == 6
    weights = [0.8**steps] + [0.2 * 0.8 ** (steps - k) for k in range(1, steps + 1)]
    assert sum(weights) == pytest.approx(1)
    for k, mean in enumerate(method.teacher.module.parameters()):
        wanted = sum(w * student[k] for w, student in zip(weights, students))
        torch.testing.assert_close(mean, wanted)
        assert not mean.requires_grad


def test_the_distance_and_its_ramp():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3))
    p, q = (np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in (a, b))
    found = disagreement(torch.from_numpy(a), torch.from_numpy(b)).item()
    np.testing.assert_allclose(found, ((p - q) ** 2).sum() / 5, rtol=1e-12)
    assert rise(0.0, 0.3) == pytest.approx(math.exp(-5))
    assert rise(0.15, 0.3) == pytest.approx(math.exp(-1.25))
    assert rise(0.3, 0.3) == rise(1.0, 0.3) == rise(0.0, 0.0) == 1


def test_the_loss_is_that_of_the_two_views_and_no_gradient_reaches_the_teacher():
    net = network()
    method = MeanTeacher(trade_off=2.0, ramp=0.0)
    method.build(net, 2, torch.optim.SGD)
    generator = torch.Generator().manual_seed(3)
    x, z, weak, strong = (torch.randn(6, 4, generator=generator) for _ in range(4))
    with torch.no_grad():
        method.teacher.module.head.bias += 1  # a teacher unlike the student
    teacher = method.teacher.module(weak).detach()
    found = []
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    method.step(
        Batch(x, y, torch.arange(6)),
        Batch(z, None, torch.arange(6), views={"weak": weak, "strong": strong}),
        0.5,
        lambda loss, _: found.append(loss),
    )
    wanted = torch.nn.functional.cross_entropy(net(x), y) + 2 * disagreement(net(strong), teacher)
    torch.testing.assert_close(found[0], wanted)
    found[0].backward()
    assert all(p.grad is None for p in method.teacher.parameters())


def test_noise_that_the_network_is_taught_to_ignore():
    """A column that the views scramble loses its weight on the target."""
    source, plain = domains(200)

    def scrambled(row):
        noise = torch.zeros(4)
        noise[1] = 3 * torch.randn(())
        return row + noise

    spreads = []
    for trade_off in (0.0, 30.0):
        net = network()
        target = Rows(plain.inputs, views={"weak": scrambled, "strong": scrambled})
        train(net, MeanTeacher(trade_off=trade_off), source=source, target=target,
              settings=Settings(epochs=10, batch_size=50, lr=0.02))  # fmt: skip
        moved = plain.inputs.clone()
        moved[:, 1] += 3
        with torch.no_grad():
            spreads.append(disagreement(net(plain.inputs), net(moved)).item())
    assert spreads[1] < 0.5 * spreads[0]
