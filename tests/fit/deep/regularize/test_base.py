"""The protocol: the pretrained network is frozen, and kept out of the saved state."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import pytest

torch = pytest.importorskip("torch")

import isthmus.fit.deep.regularize as package  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.regularize.base import Regularizer, is_new  # noqa: E402
from isthmus.fit.deep.regularize.bss import BSS  # noqa: E402
from isthmus.fit.deep.regularize.delta import DELTA  # noqa: E402
from isthmus.fit.deep.regularize.registry import PENALTIES, make_penalties  # noqa: E402
from isthmus.fit.deep.regularize.rkd import RKD  # noqa: E402
from isthmus.fit.deep.rows import Batch, Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.surgery import make_head  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402


def all_methods():
    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Regularizer):
                found[value.__name__] = value
    found.pop("Regularizer")
    return found


def make(name):
    if name == "CoTuning":
        return all_methods()[name](torch.nn.Linear(6, 2), torch.full((3, 2), 0.5))
    return all_methods()[name]()


@pytest.mark.parametrize("name", sorted(all_methods()))
def test_finite_with_gradients_on_the_network_and_none_on_the_pretrained(
    name, network, inputs, see, built, moved
):
    penalty = built(make(name), network)
    moved(network)
    for n in (1, 2, 8):
        loss = penalty(network, see(network, inputs[:n]))
        assert loss.shape == () and torch.isfinite(loss), n
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in network.body.parameters())
    if penalty.needs_pretrained:
        assert not penalty.pretrained.training
        assert all(not p.requires_grad for p in penalty.pretrained.parameters())
        assert all("teacher" not in key for key in penalty.state_dict())
    doubled = make(name)
    doubled.trade_off *= 2
    again = built(doubled, network)
    assert again.trade_off == 2 * penalty.trade_off


def test_the_pretrained_network_does_not_move_with_the_one_that_is_trained(
    network, inputs, built, moved
):
    penalty = built(RKD(), network)
    before = penalty.recall(inputs)
    moved(network)
    torch.testing.assert_close(penalty.recall(inputs), before)


def test_penalties_on_rows_need_the_build_first(network, inputs, see, built):
    with pytest.raises(UsageError, match="build"):
        RKD()(network, see(network, inputs))
    batch = dataclasses.replace(see(network, inputs), labels=None)
    assert torch.isfinite(built(BSS(), network)(network, batch))


def test_new_parts_by_name():
    assert is_new("head.weight", ("head",)) and is_new("head", ("head",))
    assert not is_new("header.weight", ("head",)) and not is_new("body.head.weight", ("head",))


class Tokens(torch.nn.Module):
    """A body of token ids and their mask, as a dict."""

    num_features = 6

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 6)

    def forward(self, ids, mask):
        return (self.embedding(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class Maps(torch.nn.Module):
    """A body that puts out maps; the head pools them."""

    num_features = 6

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 6, 3)

    def forward(self, x):
        return self.conv(x)


def dense(pooling=None):
    return make_head(6, 3, hidden=(7,), dropout=0.1, pooling=pooling)


X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
KINDS = {
    "dense head": (lambda: Network(MLP(5, (6,)), 3, head=dense()), X),
    "bottleneck": (lambda: Network(MLP(5, (8,)), 3, bottleneck=6), X),
    "tokens": (
        lambda: Network(Tokens(), 3),
        {"ids": torch.arange(24).view(6, 4) % 20, "mask": torch.ones(6, 4)},
    ),
    "maps": (lambda: Network(Maps(), 3, head=dense("avg")), X.view(6, 1, 1, 5).expand(6, 1, 5, 5)),
    "half": (lambda: Network(MLP(5, (6,)), 3, head=dense()).bfloat16(), X.bfloat16()),
    "weight norm": (
        lambda: Network(
            MLP(5, (6,)),
            3,
            head=torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(6, 3)),
        ),
        X,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(all_methods()))
def test_every_kind_of_network_takes_every_penalty_also_of_one_row(name, kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make_network, inputs = KINDS[kind]
        network = make_network()
        penalty = make(name)
        if name == "CoTuning" and kind == "maps":
            penalty.source_head = torch.nn.Sequential(
                torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), penalty.source_head
            )
        penalty.build(network, 3)
        for n in (6, 1):
            for module in (network, penalty):  # batch norm of the network takes no single row
                module.train(n > 1)
            rows = {k: v[:n] for k, v in inputs.items()} if kind == "tokens" else inputs[:n]
            batch = Batch(rows, torch.arange(n) % 3, torch.arange(n))
            loss = penalty(network, network.outputs(rows).as_domain(batch))
            assert loss.shape == () and torch.isfinite(loss), n
            loss.backward()


def test_all_names_together_train_a_network_with_a_dense_head():
    network = Network(MLP(5, (6,)), 3, head=dense())
    rows = Rows(X.repeat(4, 1), (torch.arange(24) % 3).numpy())
    method = TaskAlignment(penalties=make_penalties(list(PENALTIES)))
    done = train(network, method, source=rows, settings=Settings(epochs=2, batch_size=8))
    assert {"bituning", "bss", "delta", "l2sp", "lwf", "rkd", "task"} <= set(
        done.lines[-1]["losses"]
    )


def test_what_does_not_fit_is_refused_by_name(network, inputs, see, built):
    batch = see(network, inputs)
    narrow = torch.nn.Linear(4, 2).double()
    share = torch.full((3, 2), 0.5)
    for name, penalty in (
        ("CoTuning", all_methods()["CoTuning"](narrow, share)),
        ("LwF", all_methods()["LwF"](narrow)),
    ):
        with pytest.raises(UsageError, match=rf"{name}: the source head cannot read.*\(6,\) a row"):
            built(penalty, network)(network, batch)
    wide = torch.nn.Linear(6, 5)
    with pytest.raises(UsageError, match="answers 5 classes, the relationship has 2"):
        built(all_methods()["CoTuning"](wide, share), network)(network, batch)
    with pytest.raises(UsageError, match="shares"):
        all_methods()["CoTuning"](wide, torch.tensor([[2.0, -1.0]]))
    with pytest.raises(UsageError, match=r"the pretrained Linear has no features\(\)"):
        built(RKD(pretrained=torch.nn.Linear(2, 2)), network)
    attention = {"features": torch.ones(4) / 4}
    with pytest.raises(UsageError, match=r"weights \(4,\) for 6 channels"):
        built(DELTA(attention=attention), network)(network, batch)
    with pytest.raises(UsageError, match="k=0"):
        built(BSS(k=0), network)
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=f"trade_off={weight}"):
            built(BSS(trade_off=weight), network)
    with pytest.warns(FutureWarning, match="deprecated"):
        old = Network(MLP(5, (6,)), 3, head=torch.nn.utils.weight_norm(torch.nn.Linear(6, 3)))
    with pytest.raises(UsageError, match=r"cannot be copied.*parametrizations"):
        RKD().build(old, 3)


def test_a_loss_of_features_that_are_no_numbers_is_no_number(network, inputs, see, built):
    """The loop refuses such a loss by name; the spectrum itself would fail without one."""
    batch = see(network, inputs)
    broken = dataclasses.replace(batch, features=batch.features * torch.nan)
    assert torch.isnan(built(BSS(), network)(network, broken))
