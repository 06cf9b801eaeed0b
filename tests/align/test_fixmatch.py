"""FixMatch: the mask, the labels of the weak view, the view that it needs."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.fixmatch import FixMatch, taught_by_sure  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Batch, Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402


def network(width=8):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(MLP(4, (width,)), 3)


def test_only_sure_rows_teach_and_all_rows_divide():
    weak = torch.log(torch.tensor([[0.97, 0.02, 0.01], [0.5, 0.3, 0.2], [0.01, 0.0299, 0.9601]]))
    strong = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]]))
    loss, share = taught_by_sure(weak, strong, 0.95)
    assert share.item() == pytest.approx(2 / 3)
    assert loss.item() == pytest.approx((-np.log(0.5) - np.log(0.1)) / 3, rel=1e-6)
    everything, whole = taught_by_sure(weak, strong, 0.0)
    assert whole.item() == 1 and everything > loss
    nothing, none = taught_by_sure(weak, strong, 1.0)
    assert none.item() == 0 and nothing.item() == 0


def test_the_gradient_reaches_the_strong_view_alone():
    weak, strong = (torch.randn(8, 3, requires_grad=True) for _ in range(2))
    taught_by_sure(weak, strong, 0.0)[0].backward()
    assert weak.grad is None and strong.grad.any()


def test_the_loss_of_a_step():
    net, found = network(), []
    method = FixMatch(trade_off=0.5, threshold=0.4)
    method.build(net, 3, torch.optim.SGD)
    generator = torch.Generator().manual_seed(3)
    x, z, strong = (torch.randn(6, 4, generator=generator) for _ in range(3))
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    method.step(
        Batch(x, y, torch.arange(6)),
        Batch(z, None, torch.arange(6), views={"strong": strong}),
        0.0,
        lambda loss, _: found.append(loss),
    )
    wanted = torch.nn.functional.cross_entropy(net(x), y)
    wanted = wanted + 0.5 * taught_by_sure(net(z), net(strong), 0.4)[0]
    torch.testing.assert_close(found[0], wanted)


def test_rows_without_a_strong_view_are_refused():
    X = np.zeros((20, 4), dtype="f4")
    with pytest.raises(UsageError, match="strong"):
        train(network(), FixMatch(), source=Rows(X, np.zeros(20, dtype=int)), target=Rows(X),
              settings=Settings(epochs=1, batch_size=10))  # fmt: skip


def test_sure_rows_carry_their_label_to_the_strong_view():
    """The strong view moves rows away from the source: what was sure must be learned there."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = (rng.normal(size=(300, 4)) + 4 * np.eye(3, 4)[y]).astype("f4")
    away = torch.tensor([4.0, 0.0, 0.0, 4.0])
    right = []
    for trade_off in (0.0, 1.0):
        net = network(32)
        target = Rows(X, views={"strong": lambda row: row + away})
        train(net, FixMatch(trade_off=trade_off, threshold=0.8), source=Rows(X, y), target=target,
              settings=Settings(epochs=10, batch_size=50, lr=0.02))  # fmt: skip
        with torch.no_grad():
            right.append((net(torch.from_numpy(X) + away).argmax(1).numpy() == y).mean())
    assert right[1] > 0.95 and right[0] < 0.8
