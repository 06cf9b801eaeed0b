"""Surgery: cutting gives the same features, what is drawn anew is, frozen is frozen."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep import surgery  # noqa: E402
from isthmus.fit.deep.bodies import MLP, SmallCNN  # noqa: E402
from isthmus.fit.deep.freeze import (  # noqa: E402
    freeze,
    freeze_depth,
    frozen,
    network_units,
    unfreeze,
    units,
)
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.lora import add_lora, lora_parameters, merge_lora  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.strategy import STRATEGIES, make_strategy, trained_share  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402


def images(n=12):
    return torch.randn(n, 1, 28, 28)


def small():
    torch.manual_seed(0)
    return Network(SmallCNN(), 3, bottleneck=8)


def test_a_cut_network_gives_the_activations_of_that_layer():
    whole = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)).eval()
    x = torch.randn(5, 4)
    part = surgery.cut(whole, "0")
    torch.testing.assert_close(part(x), whole[0](x))
    assert sum(p.numel() for p in part.parameters()) == 4 * 6 + 6  # what follows is left out
    net = small().eval()
    x = images(4)
    torch.testing.assert_close(
        surgery.cut(net, "body.conv.3", pooling="avg")(x), net.body.conv[:4](x).mean((2, 3))
    )
    with pytest.raises(UsageError, match=r"body\.conv"):
        surgery.cut(net, "body.con.3")


def test_dropped_and_redrawn_layers():
    net = small()
    before = surgery.state_of(net)
    surgery.reinitialise(net, ["body.conv.3"], seed=4)
    changed = {n for n, t in net.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {"body.conv.3.weight", "body.conv.3.bias"}
    once = net.body.conv[3].weight.clone()
    surgery.reinitialise(net, ["body.conv.3"], seed=4)
    assert torch.equal(once, net.body.conv[3].weight)
    surgery.drop(net, ["body.conv.4"])
    assert isinstance(net.body.conv[4], nn.Identity)


def test_a_head_by_parts():
    head = surgery.make_head(50, 3, hidden=(7,), dropout=0.5, pooling="avg").eval()
    maps = torch.randn(2, 50, 4, 4)
    found = head[-1](head[3](head[2](maps.mean((2, 3)))))
    torch.testing.assert_close(head(maps), found)
    assert surgery.make_head(32, 2, pooling="flatten")(torch.randn(3, 8, 2, 2)).shape == (3, 2)


def test_frozen_is_equal_to_the_bit_batch_norm_included():
    net = Network(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten()), 2,
                  num_features=4 * 26 * 26, bottleneck=8)  # fmt: skip
    names = freeze(net, ["body"])
    assert names == frozen(net) and "body.1.weight" in names
    before = surgery.state_of(net)
    net.train()
    assert not net.body[1].training and net.bottleneck[1].training
    X = np.random.default_rng(0).normal(size=(40, 1, 28, 28)).astype("f4")
    train(net, TaskAlignment(), source=Rows(X, np.arange(40) % 2),
          settings=Settings(epochs=1, batch_size=8))  # fmt: skip
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("body."), name
    unfreeze(net)
    net.train()
    assert net.body[1].training and not frozen(net)


def test_blocks_from_the_input_to_the_head():
    net = small()
    assert network_units(net) == [("body.conv.0",), ("body.conv.3",), ("bottleneck",), ("head",)]
    assert freeze_depth(net, 2) == ["bottleneck", "head"]
    assert frozen(net) == [f"body.conv.{k}.{n}" for k in (0, 3) for n in ("weight", "bias")]
    assert units(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) == ["0"]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_each_strategy_moves_what_it_says(name):
    torch.manual_seed(0)
    net = Network(MLP(6, (8, 8), norm=True), 2, bottleneck=8)
    before = surgery.state_of(net)
    X = np.random.default_rng(0).normal(size=(64, 6)).astype("f4")
    rows = Rows(X, (X[:, 0] > 0).astype(int))
    seen = []

    def watch(network, epoch, losses):
        state = {n.replace("parametrizations.weight.original", "weight"): t
                 for n, t in network.state_dict().items()}  # fmt: skip
        seen.append({n for n, t in before.items() if not torch.equal(t, state[n])})
        return {}

    train(net, TaskAlignment(), source=rows, settings=Settings(epochs=4, batch_size=16),
          plan=make_strategy(name), watch=watch)  # fmt: skip
    tensors = {n for n in before if not n.endswith("num_batches_tracked")}
    new = {n for n in tensors if n.startswith(("bottleneck", "head"))}
    first, last = ({n for n in s if n in tensors} for s in (seen[0], seen[-1]))
    if name in ("full", "layerwise"):
        assert first == last == tensors
    elif name in ("head-only", "top-k"):
        assert first == last == new
    elif name == "lp-ft":
        held = {n for n in tensors if n.startswith("body") and "running" in n}
        assert seen[1] & tensors == new and last == tensors - held
    elif name == "gradual":
        assert first == {n for n in new if n.startswith("head")} and last == tensors
    elif name == "bias-only":
        assert last == new | {n for n in tensors if n.startswith("body") and n.endswith("bias")}
    else:
        assert name == "lora" and last == new
        low = list(lora_parameters(net.body))
        assert low and all(float(p.detach().abs().sum()) > 0 for p in low)
        x = torch.from_numpy(X)
        want = net(x).detach()
        assert merge_lora(net) == 2
        torch.testing.assert_close(net(x), want)
        assert set(net.state_dict()) == set(before)


def test_layerwise_rates_fall_towards_the_input():
    net = Network(MLP(6, (8, 8)), 2)
    scales = make_strategy("layerwise", decay=0.5).scales(net)
    found = {n: scales[id(p)] for n, p in net.named_parameters() if n.endswith("weight")}
    assert found == {
        "body.dense.0.weight": 0.25, "body.dense.2.weight": 0.5, "head.weight": 1.0,
    }  # fmt: skip
    with pytest.raises(UsageError, match="unknown strategy"):
        make_strategy("half")


def test_lora_starts_as_the_network_it_was_and_takes_convolutions():
    net = small().eval()
    x = images(3)
    want = net(x).detach()
    names = add_lora(net.body, rank=2)
    assert names == ["conv.0", "conv.3"]
    torch.testing.assert_close(net(x), want)
    assert sum(p.numel() for p in lora_parameters(net)) == 2 * (20 + 25) + 2 * (50 + 500)


def test_a_timm_model_takes_lora_and_is_cut_into_blocks():
    timm = pytest.importorskip("timm")
    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=24, num_heads=2, num_classes=0
    )
    net = Network(vit, 3, num_features=24).eval()
    assert network_units(net)[-3:] == [
        ("body.blocks.0",), ("body.blocks.1", "body.norm"), ("head",),
    ]  # fmt: skip
    x = torch.randn(2, 3, 32, 32)
    want = net(x).detach()
    names = add_lora(net.body, rank=2, layers=("blocks.*.attn.qkv.weight",))
    assert names == ["blocks.0.attn.qkv", "blocks.1.attn.qkv"]
    torch.testing.assert_close(net(x), want)


def test_a_network_that_starts_from_nothing_is_drawn_by_he():
    def net():
        return nn.Sequential(
            nn.Conv2d(32, 64, 5), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3, groups=64),
            nn.Flatten(), nn.Linear(400, 500),
        )  # fmt: skip

    made = surgery.he_initialise(net(), seed=1)
    for k, fan in ((0, 64 * 25), (2, 9), (4, 400)):  # outputs a convolution's weight reaches
        assert made[k].weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.06)
        assert not made[k].bias.any()
    assert torch.equal(made[1].weight, torch.ones(64))
    state, again = made.state_dict(), surgery.he_initialise(net(), seed=1).state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert not torch.equal(surgery.he_initialise(net(), seed=2)[0].weight, made[0].weight)


def test_deep_networks_without_batch_norm_keep_their_signal():
    layers = [m for _ in range(12) for m in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
    net = nn.Sequential(*layers)
    images = torch.randn(4, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        faded = net(images).std(dim=0).mean()  # from image to image
        kept = surgery.he_initialise(net)(images).std(dim=0).mean()
    assert faded < 0.01 < 0.1 < kept < 10


def test_weights_of_no_rule_are_refused_and_nothing_changes():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense, self.token = nn.Linear(3, 3), nn.Parameter(torch.zeros(3))

    net = Token()
    before = surgery.state_of(net)
    with pytest.raises(UsageError, match="Token does not know"):
        surgery.he_initialise(net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_after_the_probe_norms_learn_and_keep_the_statistics_the_head_was_fitted_to():
    body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())
    body.num_features = 6
    network = Network(body, 2)
    rows = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)) + 3
    labels = (rows[:, 0] > 3).long().numpy()
    before = surgery.state_of(network)
    train(
        network, TaskAlignment(), source=Rows(rows, labels), plan=make_strategy("lp-ft"),
        settings=Settings(epochs=4, batch_size=8, lr=0.01),
    )  # fmt: skip
    after = network.state_dict()
    for name in ("body.1.running_mean", "body.1.running_var"):
        assert torch.equal(before[name], after[name])
    assert not torch.equal(before["body.1.weight"], after["body.1.weight"])
    unfreeze(network)
    network.train()
    network(rows)
    assert not torch.equal(before["body.1.running_mean"], network.body[1].running_mean)


class Wrapped(nn.Module):
    """A backbone as `backbone_body` hands it on: one module inside another."""

    def __init__(self, network):
        super().__init__()
        self.network = network


@pytest.mark.parametrize(
    ("name", "blocks", "last"),
    [
        ("vit_tiny_patch16_224", 14, ("blocks.11", "norm")),
        ("resnet18", 10, ("layer4.1",)),
        ("convnext_atto", 17, ("stages.3.blocks.1", "head.norm")),
        ("tf_efficientnet_lite0", 19, ("conv_head", "bn2")),
    ],
)
def test_blocks_of_usual_backbones(name, blocks, last):
    timm = pytest.importorskip("timm")
    net = Network(Wrapped(timm.create_model(name, num_classes=0)), 3, num_features=8)
    found = network_units(net)
    assert len(found) == blocks
    assert found[-2] == tuple(f"body.network.{part}" for part in last) and found[-1] == ("head",)
    trained = freeze_depth(net, 2)
    for weight, p in net.named_parameters():
        assert p.requires_grad == weight.startswith(tuple(f"{part}." for part in trained)), weight
    assert 0.005 < trained_share(net) < 0.6
    freeze_depth(net, blocks)
    assert not frozen(net)  # class tokens too


def test_the_layers_of_a_text_encoder_are_blocks_and_what_nothing_passes_is_none():
    transformers = pytest.importorskip("transformers")
    from isthmus.backbone.hf_modules import TextEncoder

    sizes = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    encoder = TextEncoder(transformers.BertModel(sizes), layer=None, pooling="mean", l2=False)
    found = network_units(Network(Wrapped(encoder), 2, num_features=8))
    inner = "body.network.model."
    assert found == [
        (f"{inner}embeddings",), *((f"{inner}encoder.layer.{k}",) for k in range(3)), ("head",),
    ]  # fmt: skip


@pytest.mark.parametrize("strategy", ["head-only", "lp-ft", "bias-only"])
def test_a_network_with_frozen_norms_is_pickled_and_copied(strategy):
    net = small()
    net.body.conv.insert(1, nn.BatchNorm2d(20))
    make_strategy(strategy).begin_epoch(net, 0, 4)
    for twin in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        twin.train()
        assert not twin.body.conv[1].training and twin.head.training
        unfreeze(twin)
        assert twin.body.conv[1].training
        net.train()
        assert not net.body.conv[1].training  # the first one's is its own


def test_a_layer_that_stands_twice_is_cut_where_it_is_named():
    act = nn.Tanh()
    whole = nn.Sequential(nn.Linear(3, 3), act, nn.Linear(3, 3), act, nn.Linear(3, 2))
    x = torch.randn(4, 3)
    for stop in range(5):
        torch.testing.assert_close(surgery.cut(whole, str(stop))(x), whole[: stop + 1](x))


def test_tied_weights_take_no_low_rank_update():
    """The other layer would change with it."""
    net = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 2)})
    net["b"].weight = net["a"].weight
    with pytest.raises(UsageError, match=r"a cannot take a low-rank update"):
        add_lora(net, layers=("a", "b"))
    assert add_lora(net) == ["c"]


def test_attention_is_drawn_anew_and_a_refusal_changes_nothing():
    net = nn.ModuleDict({"lin": nn.Linear(4, 4), "att": nn.MultiheadAttention(4, 2)})
    before = copy.deepcopy(net.state_dict())
    surgery.reinitialise(net, ["lin", "att"], seed=3)
    assert not torch.equal(net["att"].in_proj_weight, before["att.in_proj_weight"])

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    net["odd"], before = Odd(), copy.deepcopy(net.state_dict())
    with pytest.raises(UsageError, match="Odd"):
        surgery.reinitialise(net, ["lin", "odd"])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()
               if name in before)  # fmt: skip


def test_computed_weights_are_not_drawn_anew():
    """What is drawn for them would be lost at the next forward pass."""
    norm = torch.nn.utils.parametrizations.spectral_norm
    net = nn.Sequential(nn.Linear(3, 3), norm(nn.Linear(3, 2)))
    before = surgery.state_of(net)
    for draw in (surgery.he_initialise, lambda n: surgery.reinitialise(n, ["0", "1"])):
        with pytest.raises(UsageError, match=r"1: the weights of a Linear are computed"):
            draw(net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    with pytest.warns(FutureWarning, match="deprecated"):
        old = torch.nn.utils.weight_norm(nn.Linear(3, 3))
    with pytest.raises(UsageError, match="computed"):
        surgery.he_initialise(nn.Sequential(old))


class Remembering(nn.Linear):
    """A layer whose state is more than tensors."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.seen = {"rows": 0}

    def get_extra_state(self):
        return self.seen

    def set_extra_state(self, state):
        self.seen = state


def test_a_state_of_more_than_tensors_is_copied_and_put_back():
    net = nn.Sequential(Remembering(3, 2))
    kept = surgery.state_of(net)
    net[0].seen["rows"] = 5
    surgery.he_initialise(net)
    net.load_state_dict(kept)
    assert net[0].seen == {"rows": 0} and torch.equal(net[0].weight, kept["0.weight"])
    surgery.reinitialise(net, ["0"])
    assert not torch.equal(net[0].weight, kept["0.weight"])
