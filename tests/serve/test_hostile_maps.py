"""A saved model with a domain map: it predicts, evaluates, verifies; altered ones are refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save as save_tensors

import isthmus
from isthmus import iofs
from isthmus.cli.main import cli
from isthmus.errors import BundleError
from isthmus.serve import load_model, verify
from isthmus.serve.manifest import MANIFEST, TENSORS, read_manifest, seal
from isthmus.transfer import transfer

MAP = ("model", "processor", "map")


def write(path, X, y=None):
    """A table of features, with the label where there is one."""
    names = [f"f{i}" for i in range(X.shape[1])] + ([] if y is None else ["kind"])
    lines = [",".join(names)]
    for i, row in enumerate(X):
        cells = [f"{v:.4f}" for v in row] + ([] if y is None else [str(y[i])])
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def blobs(n, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 2
    X = rng.normal(size=(n, 4)) + 3 * codes[:, None] * np.array([1, 0, 0, -1]) + shift
    return X, np.array(["left", "right"])[codes]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with CORAL (a map), and one with MLLS as a correction (a prior)."""
    from isthmus.adapt.mlls import MLLS

    root = tmp_path_factory.mktemp("maps")
    X, y = blobs(120, 0)
    source, target = write(root / "s.csv", X, y), write(root / "t.csv", blobs(80, 1, 1.0)[0])
    transfer(str(source), str(target), method="coral", label="kind", out=root / "coral")
    transfer(
        str(source), str(target), method=MLLS(use="correction"), label="kind", out=root / "mlls"
    )
    write(root / "new.csv", blobs(30, 2, 1.0)[0])
    write(root / "check.csv", *blobs(40, 3, 1.0))
    return root


@pytest.fixture
def folder(saved, tmp_path):
    shutil.copytree(saved / "coral", tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize("name", ["coral", "mlls"])
def test_predict_evaluate_and_verify_work_on_it(saved, name):
    def call(*words):
        done = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    lines = call("predict", saved / name, saved / "new.csv").splitlines()
    assert len(lines) == 31 and lines[0].startswith("id,prediction,confidence")
    words = ("--label", "kind", "--format", "json")
    scores = json.loads(call("evaluate", saved / name, saved / "check.csv", *words))
    assert scores["accuracy"]["value"] > 0.8
    assert json.loads(call("verify", saved / name, "--format", "json"))["ok"]


def test_the_loaded_model_gives_the_same_bits_as_the_run(tmp_path):
    Xs, ys = blobs(120, 0)
    Xt = blobs(80, 1, 1.0)[0]
    for method in ("coral", "kmm", "sinkhorn-transport", "jdot"):
        folder = tmp_path / method
        result = transfer((Xs, ys), Xt, method=method, out=folder)
        rows = blobs(33, 5, 1.0)[0].astype("f4")
        loaded = isthmus.load(folder).model
        np.testing.assert_array_equal(loaded.predict_proba(rows), result.model.predict_proba(rows))
        assert read_manifest(folder)["model"]["format"] == 2  # older versions must not misread it


def test_a_plain_model_keeps_the_old_format(tmp_path):
    transfer(blobs(60, 0), blobs(40, 1)[0], out=tmp_path / "m")
    assert read_manifest(tmp_path / "m")["model"]["format"] == 1


def reseal(folder, change):
    found = read_manifest(folder)
    change(found)
    (folder / MANIFEST).write_bytes(seal(found))


def map_of(manifest):
    for key in MAP:
        manifest = manifest[key]
    return manifest


def tensor(folder, name, value):
    tensors = {k: v.copy() for k, v in iofs.read_tensors(folder / TENSORS).items()}
    assert name in tensors, sorted(tensors)
    tensors[name] = value
    raw = save_tensors(tensors)
    (folder / TENSORS).write_bytes(raw)
    entry = {"sha256": iofs.sha256_bytes(raw), "bytes": len(raw)}
    reseal(folder, lambda m: m["files"].__setitem__(TENSORS, entry))


def refused(folder):
    with pytest.raises(BundleError) as caught:
        load_model(folder)
    assert not verify(folder)["ok"]
    return str(caught.value)


@pytest.mark.parametrize("path", ["os.system", "isthmus.cli.main.run", "isthmus.adapt.maps.Any"])
def test_a_class_outside_the_allow_list_is_refused(folder, path):
    reseal(folder, lambda m: map_of(m).__setitem__("class", path))
    assert "not one of this package" in refused(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: map_of(m)["fields"].pop("scale"),
        lambda m: map_of(m)["fields"].__setitem__("scale", {"value": "text"}),
        lambda m: map_of(m)["fields"].__setitem__("then", {"value": "text"}),
        lambda m: m["model"]["processor"].__setitem__("map", {"value": 3}),
        lambda m: m["model"]["processor"].__setitem__("n_features", 7),
        lambda m: m["model"]["processor"].__setitem__("n_features_out", 7),
        lambda m: m["model"]["processor"].__setitem__("n_features", 1 << 40),
        lambda m: m["model"]["processor"].__setitem__("kind", "Unknown"),
        lambda m: m["model"]["processor"].pop("map"),
        lambda m: m["model"].__setitem__("format", 3),
    ],
)
def test_an_altered_map_is_refused(folder, change):
    reseal(folder, change)
    refused(folder)


@pytest.mark.parametrize(
    "value", [np.ones(3), np.ones((2, 2)), np.ones((1, 1, 1)), np.array([np.inf]), np.ones((9, 4))]
)
def test_a_scale_of_another_shape_is_refused(folder, value):
    tensor(folder, "model.processor.map.scale", value)
    refused(folder)


def test_a_correction_that_does_not_fit_the_classes_is_refused(saved, tmp_path):
    shutil.copytree(saved / "mlls", tmp_path / "m")
    tensor(tmp_path / "m", "model.log_ratio", np.zeros(3))
    assert "class shares" in refused(tmp_path / "m")
