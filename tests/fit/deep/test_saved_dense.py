"""Saved dense networks: the same outputs as the file's network, 100 % of tensors, refusals."""

from __future__ import annotations

import itertools
import zipfile

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


def h5_file(path, fill=None):
    """Weights alone, as Keras 3 stores them; `fill` changes the layer."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        own = file.create_group("layers/dense/vars")
        own["0"], own["1"] = KERNELS[0], BIASES[0]
        if fill is not None:
            fill(file)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A good file of each form, by its ending."""
    pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("whole")
    torch_file(folder / "w.safetensors", "abc")
    torch.save({"a.weight": torch.from_numpy(KERNELS[0].T.copy())}, folder / "w.pt")
    inside = h5_file(folder / "w.h5").read_bytes()
    with zipfile.ZipFile(folder / "w.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", inside)
    files = {path.suffix: path.read_bytes() for path in folder.iterdir()}
    assert all(read_dense(path).num_inputs == 12 for path in folder.iterdir())
    return files


NAMES = {
    ".safetensors": "a safetensors file",
    ".pt": "a torch file",
    ".h5": "an HDF5 file",
    ".keras": "a .keras archive",
}


@pytest.mark.parametrize("ending", NAMES)
def test_a_damaged_file_says_what_is_wrong_with_it(ending, whole, tmp_path):
    name, path = NAMES[ending], tmp_path / f"x{ending}"
    raw = whole[ending]

    def said(content):
        path.write_bytes(content)
        with pytest.raises(BackboneError) as caught:
            read_dense(path)
        assert caught.value.where == str(path) and caught.value.why and caught.value.remedy
        return str(caught.value).removeprefix(f"{path}: ")

    again = "Copy or download it again"
    assert said(b"") == f"the file is empty ({name} was expected). {again}"
    assert said(b"\xff" * 99).startswith(
        f"not {name} (its first bytes tell no known form). {again}"
    )
    assert said(b"words\n" * 99).startswith(f"not {name} (by its content it is text). {again}")
    for part in (100, len(raw) // 2, len(raw) - 1):
        assert said(raw[:part]).startswith(f"the {name.split(maxsplit=1)[1]} is cut off (")
    for other in set(NAMES) - {ending}:
        found = f"not {name} (by its content it is {NAMES[other]}). Give it the ending {other}"
        assert said(whole[other]).startswith(found)


def test_an_old_torch_file_that_is_cut_off(tmp_path):
    tensors = {"a.weight": torch.ones(40, 50)}
    torch.save(tensors, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BackboneError, match="the torch file is cut off"):
        read_dense(tmp_path / "w.pt")


def test_a_file_without_layers_is_refused(tmp_path):
    def without(file):
        del file["layers"]

    def as_numbers(file):
        without(file)
        file["layers"] = np.zeros(3)

    def old_without_weights(file):
        file.create_group("model_weights").attrs["layer_names"] = [b"dense"]

    def not_a_number(file):
        file["layers/dense/vars/0"][:] = np.nan

    def other_bias(file):
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = np.zeros(9)

    for fill, said in (
        (without, "holds no layers with weights"),
        (as_numbers, "holds no layers with weights"),
        (old_without_weights, "not stored as Keras stores them"),
        (not_a_number, r"'dense\.weight' hold NaN"),
        (other_bias, "'dense' is no dense layer"),
    ):
        with pytest.raises(BackboneError, match=said) as caught:
            read_dense(h5_file(tmp_path / f"{fill.__name__}.h5", fill))
        assert caught.value.remedy and caught.value.where.endswith(".h5")
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(BackboneError, match=r"the archive holds no weights\. Save the network"):
        read_dense(tmp_path / "w.keras")


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
