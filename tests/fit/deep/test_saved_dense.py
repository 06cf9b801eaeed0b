"""Saved dense networks: the same outputs as the file's network, 100 % of tensors, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus import iofs  # noqa: E402
from isthmus.errors import BackboneError  # noqa: E402
from isthmus.fit.deep.saved_dense import read_dense  # noqa: E402

RNG = np.random.default_rng(0)
WIDTHS = (12, 7, 5, 3)
KERNELS = [RNG.normal(size=pair).astype("f4") for pair in itertools.pairwise(WIDTHS)]
BIASES = [RNG.normal(size=n).astype("f4") for n in WIDTHS[1:]]
X = RNG.normal(size=(6, 12)).astype("f4")


def by_hand(X, bend):
    for k, (kernel, bias) in enumerate(zip(KERNELS, BIASES)):
        X = X @ kernel + bias
        X = bend(X) if k < len(KERNELS) - 1 else X
    return X


def relu(x):
    return np.maximum(x, 0)


def torch_file(path, names):
    tensors = {}
    for name, kernel, bias in zip(names, KERNELS, BIASES):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = kernel.T.copy(), bias
    iofs.write_tensors(path, tensors)
    return path


@pytest.mark.parametrize(
    "names",
    [("layers.0", "layers.2", "layers.10"), ("fc1", "fc2", "out"), ("z", "y", "x")],
    ids=["numbers", "names", "backwards"],
)
def test_a_safetensors_file_is_the_same_network(tmp_path, names):
    saved = read_dense(torch_file(tmp_path / "w.safetensors", names))
    assert saved.num_inputs == 12 and saved.widths == (7, 5, 3)
    network, report = saved.network(3)
    assert report.complete and len(report.loaded) == 6
    network.eval()
    with torch.no_grad():
        np.testing.assert_allclose(network(torch.from_numpy(X)), by_hand(X, relu), atol=1e-5)


def test_other_classes_get_a_new_head_and_the_report_says_so(tmp_path):
    saved = read_dense(torch_file(tmp_path / "w.safetensors", ("a", "b", "c")))
    network, report = saved.network(10, seed=3)
    assert not report.complete and len(report.loaded) == 4
    assert [name.split(" ")[0] for name in report.mis_shaped] == ["head.weight", "head.bias"]
    again, _ = saved.network(10, seed=3)
    assert torch.equal(network.head.weight, again.head.weight)
    fresh, none = saved.network(10, pretrained=False, seed=3)
    assert none is None
    assert not torch.equal(fresh.body[0].weight, network.body[0].weight)


def test_an_old_h5_file_and_its_activations(tmp_path):
    h5py = pytest.importorskip("h5py")
    import json

    layers = [{"class_name": "Flatten", "config": {}}]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("model_weights")
        names = [f"dense_{k}" for k in range(3)]
        group.attrs["layer_names"] = [name.encode() for name in names]
        for k, name in enumerate(names):
            own = group.create_group(name)
            own.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            own[f"{name}/kernel:0"], own[f"{name}/bias:0"] = KERNELS[k], BIASES[k]
            act = "softmax" if k == 2 else "tanh"
            layers.append({"class_name": "Dense", "config": {"activation": act, "name": name}})
        config = {"class_name": "Sequential", "config": {"layers": layers}}
        file.attrs["model_config"] = json.dumps(config)
    saved = read_dense(tmp_path / "w.h5")
    assert saved.activations == ("tanh", "tanh")
    network, report = saved.network(3)
    assert report.complete
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(X))
    np.testing.assert_allclose(found, by_hand(X, np.tanh), atol=1e-5)


def test_what_keras_saved_gives_what_keras_predicts(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(7),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(tmp_path / "m.keras")
    network, report = read_dense(tmp_path / "m.keras").network(3)
    assert report.complete and len(report.loaded) == 6
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(X)).softmax(1)
    expected = keras.ops.convert_to_numpy(model(X.reshape(6, 4, 3)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_more_than_dense_layers_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    iofs.write_tensors(
        path, {"fc.weight": KERNELS[0].T.copy(), "conv.weight": np.ones((2, 1, 3, 3), "f4")}
    )
    with pytest.raises(BackboneError, match=r"more than dense layers.*conv\.weight"):
        read_dense(path)


def test_layers_that_do_not_follow_one_another_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    iofs.write_tensors(path, {"a.weight": np.ones((4, 3), "f4"), "b.weight": np.ones((2, 5), "f4")})
    with pytest.raises(BackboneError, match="do not follow one another"):
        read_dense(path)


def test_an_activation_that_is_not_known_is_named(tmp_path):
    with pytest.raises(BackboneError, match="'softsign'"):
        read_dense(torch_file(tmp_path / "w.safetensors", "abc"), activation="softsign")
