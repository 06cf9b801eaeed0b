"""Copied weights: every tensor is accounted for, and no value changes but by rounding."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus import iofs  # noqa: E402
from isthmus.errors import BackboneError  # noqa: E402
from isthmus.fit.deep import copy_weights as whole_module  # noqa: E402
from isthmus.fit.deep.bodies import SmallCNN, digit_network  # noqa: E402
from isthmus.fit.deep.copy_weights import copy_weights  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.surgery import state_of  # noqa: E402


def small():
    torch.manual_seed(0)
    return Network(SmallCNN(), 3, bottleneck=8)


def test_every_tensor_is_accounted_for():
    torch.manual_seed(1)
    other = Network(SmallCNN(), 5, bottleneck=8)
    net = small()
    with pytest.raises(BackboneError, match=r"2 of another shape: head\.weight \(5, 8\)"):
        copy_weights(net, other)
    before = state_of(net)
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    report = copy_weights(net, other, allow=["head"])
    counters = [n for n in net.state_dict() if n.endswith("num_batches_tracked")]
    assert len(report.loaded) + len(report.mis_shaped) == len(net.state_dict())
    assert set(counters) <= set(report.loaded)
    assert all(torch.equal(net.state_dict()[n], other.state_dict()[n]) for n in report.loaded)
    state = dict(small().state_dict())
    del state["body.conv.0.bias"]
    state["body.conv.9.bias"] = torch.zeros(2)
    with pytest.raises(BackboneError, match=r"missing: body\.conv\.0\.bias.*body\.conv\.9\.bias"):
        copy_weights(net, state)


def test_renamed_files_of_both_torch_kinds(tmp_path):
    net, other = small(), digit_network(3).body
    state = {f"encoder.{n}": t for n, t in other.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    iofs.write_tensors(tmp_path / "w.safetensors", {n: t.numpy() for n, t in state.items()})
    for file in ("w.pt", "w.safetensors"):
        report = copy_weights(net.body, tmp_path / file, rename={"encoder.": ""})
        assert report.complete and torch.equal(net.body.conv[0].weight, other.conv[0].weight)


def test_keras_files_give_the_same_predictions(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((10,)),
            keras.layers.Dense(7, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
        ]
    )
    x = np.random.default_rng(0).normal(size=(5, 10)).astype("f4")
    model.layers[1].moving_mean.assign(np.arange(7) / 10)
    want = keras.ops.convert_to_numpy(model(x, training=False))
    model.save(tmp_path / "m.keras")
    norm = nn.BatchNorm1d(7, eps=1e-3)
    net = nn.Sequential(nn.Linear(10, 7), nn.ReLU(), norm, nn.Linear(7, 3)).eval()
    report = copy_weights(net, tmp_path / "m.keras")
    assert report.complete, report
    with torch.no_grad():
        np.testing.assert_allclose(net(torch.from_numpy(x)).numpy(), want, atol=1e-5)
    with pytest.raises(BackboneError, match="of another shape"):
        copy_weights(nn.Sequential(nn.Linear(9, 7), norm, nn.Linear(7, 3)), tmp_path / "m.keras")


def test_old_h5_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 3, 1, 4)).astype("f4"), rng.normal(size=4).astype("f4")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv2d_1"]
        group = file.create_group("conv2d_1")
        group.attrs["weight_names"] = [b"conv2d_1/kernel:0", b"conv2d_1/bias:0"]
        group["conv2d_1/kernel:0"], group["conv2d_1/bias:0"] = kernel, bias
    net = nn.Sequential(nn.Conv2d(1, 4, 3))
    assert copy_weights(net, tmp_path / "w.h5").complete
    assert torch.equal(net[0].weight[2, 0, 1, 2], torch.tensor(kernel[1, 2, 0, 2]))


def refused(net, state, match, **options):
    """It is refused, and no bit of the network changes."""
    before = state_of(net)
    with pytest.raises(BackboneError, match=match):
        copy_weights(net, state, **options)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_rounding_is_reported_and_what_a_type_cannot_hold_is_refused():
    net = nn.Sequential(nn.Linear(3, 2)).half()
    state = {"0.weight": torch.full((2, 3), 0.1), "0.bias": torch.ones(2).half()}
    report = copy_weights(net, state)
    assert report.complete and report.cast == ("0.weight (float32 -> float16)",)
    assert "in another type: 0.weight (float32 -> float16)" in str(report)
    assert torch.equal(net[0].weight, state["0.weight"].half())
    state["0.weight"][1, 2] = 7e4
    refused(net, state, r"0\.weight: 1 of its values becomes infinite as float16.*Convert")
    # what is infinite already stays so
    state["0.weight"][1, 2] = torch.inf
    assert copy_weights(net, state).loaded == ("0.weight", "0.bias")
    whole = nn.Linear(3, 2)
    assert copy_weights(whole, nn.Linear(3, 2).bfloat16()).complete
    refused(
        whole,
        {"weight": torch.ones(2, 3).to(torch.complex64) * 1j, "bias": torch.ones(2)},
        "imaginary",
    )
    assert copy_weights(whole, {"weight": torch.ones(2, 3) + 0j, "bias": torch.ones(2)}).complete
    assert doctest.testmod(whole_module).failed == 0


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("places", torch.arange(3))


def test_whole_numbers_take_no_fractions_and_lose_no_digit():
    net = Positions()
    refused(
        net,
        {"scale": torch.ones(2), "places": torch.tensor([0.0, 0.5, 1.0])},
        "places: int64 cannot hold its values of float32",
    )
    refused(
        net,
        {"scale": torch.tensor([1, 2**24 + 1]), "places": torch.arange(3)},
        "scale: float32 cannot hold its values of int64",
    )
    state = {"scale": torch.tensor([3, 4]), "places": torch.tensor([2.0, 1.0, 0.0])}
    report = copy_weights(net, state)  # exact
    assert net.places.tolist() == [2, 1, 0] and net.scale.tolist() == [3, 4]
    assert report.cast == ("scale (int64 -> float32)", "places (float32 -> int64)")


def test_tied_weights_are_given_one_value():
    net = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    net["b"].weight = net["a"].weight
    one, two = torch.ones(2, 2), torch.full((2, 2), 2.0)
    refused(
        net,
        {"a.weight": one, "b.weight": two},
        r"a\.weight, b\.weight are one tensor.*a\.weight would be lost",
    )
    for state in ({"a.weight": two, "b.weight": two.clone()}, {"b.weight": one}):
        report = copy_weights(net, state)  # files name tied weights once or twice
        assert report.complete and report.loaded == ("a.weight", "b.weight")
        assert torch.equal(net["a"].weight, state["b.weight"])
    nan = torch.full((2, 2), torch.nan)
    assert copy_weights(net, {"a.weight": nan, "b.weight": nan.clone()}).complete


def test_counters_that_old_files_lack_are_in_the_report():
    net = nn.Sequential(nn.BatchNorm1d(2))
    state = {n: t for n, t in net.state_dict().items() if "num_batches" not in n}
    report = copy_weights(net, state)
    assert report.complete and report.counters == ("0.num_batches_tracked",)
    assert str(report) == "4 of 5 tensors loaded; counters not given: 0.num_batches_tracked"
    net[0].momentum = None  # the mean over all batches: the count weighs the statistics
    refused(net, state, r"missing: 0\.num_batches_tracked")


class Remembering(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self.seen = 0

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = state["seen"]


def test_what_a_module_keeps_beside_tensors_is_copied_or_refused_by_name():
    net, other = nn.Sequential(Remembering(), Remembering()), nn.Sequential(Remembering())
    other.append(Remembering())
    other[1].seen = 7
    report = copy_weights(net, other)
    assert net[1].seen == 7 and "1._extra_state" in report.loaded and report.complete
    plain = {n: t for n, t in other.state_dict().items() if not n.endswith("_extra_state")}
    with pytest.raises(BackboneError, match=r"2 missing: 0\._extra_state, 1\._extra_state"):
        copy_weights(net, plain)
    assert len(copy_weights(net, plain, allow=["*_extra_state"]).missing) == 2
    state = dict(other.state_dict())
    state["0._extra_state"], state["1._extra_state"] = {"seen": 3}, {"wrong": 1}
    weight = net[0].weight.clone()
    state["0.weight"] = weight + 1
    with pytest.raises(
        BackboneError, match=r"1\._extra_state was not taken.*Remembering.*KeyError"
    ):
        copy_weights(net, state)
    assert net[0].seen == 0 and torch.equal(net[0].weight, weight), "all of it or nothing"


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (lambda t: t.to_sparse(), "it is sparse"),
        (lambda t: t.to("meta"), "meta device"),
        (lambda t: t.tolist(), r"weight \(no tensor but a list\) for \(2, 2\)"),
        (lambda t: t.detach().numpy(), "no tensor but a ndarray"),
        (lambda t: nn.UninitializedParameter(), "not known before the first batch"),
    ],
)
def test_what_cannot_be_copied_is_refused_by_name(odd, said):
    net = nn.Linear(2, 2)
    refused(net, {"weight": odd(torch.ones(2, 2)), "bias": torch.ones(2)}, said)


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
@pytest.mark.filterwarnings("ignore:.*quantize:DeprecationWarning")
def test_quantised_tensors_are_refused_by_name():
    q = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)
    state = {"weight": q, "bias": torch.ones(2)}
    refused(nn.Linear(2, 2), state, r"weight: it is quantised \(qint8\).*dequantize")


def test_a_network_that_cannot_hold_a_copy_is_refused_by_name():
    lazy = nn.LazyLinear(2)
    with pytest.raises(BackboneError, match=r"weight \(2, 2\) for \(not known before"):
        copy_weights(lazy, nn.Linear(2, 2))
    with pytest.raises(BackboneError, match="meta device"):
        copy_weights(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))

    class Making(nn.Linear):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            destination[prefix + "weight"] = self.weight.detach() + 0
            destination[prefix + "bias"] = self.bias.detach()

    refused(Making(2, 2), nn.Linear(2, 2), "weight: the network makes it when it is asked")
    shown = nn.Module()
    shown.register_buffer("places", torch.zeros(1).expand(3))
    refused(shown, {"places": torch.ones(3)}, "shown several times")
