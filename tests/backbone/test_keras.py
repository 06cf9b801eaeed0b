"""Keras models on torch: same numbers as Keras, no code from files, no change of environment."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest

if importlib.util.find_spec("keras") is None:  # importing it here would choose its backend
    pytest.skip("needs the extra keras", allow_module_level=True)

from isthmus.backbone import load_backbone, recipes
from isthmus.backbone.keras import keras_on_torch
from isthmus.errors import BackboneError, UsageError


def picture():
    y, x = np.mgrid[0:90, 0:120]
    return np.stack([(x * y) % 256, (3 * x + 2 * y) % 256, 2 * y % 256], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def keras():
    return keras_on_torch()


@pytest.fixture(scope="module")
def small(keras):
    layers = keras.layers
    return keras.Sequential([
        keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), layers.Conv2D(8, 3, name="map"),
        layers.BatchNormalization(), layers.GlobalAveragePooling2D(),
        layers.Dense(16, activation="relu"), layers.Dropout(0.5), layers.Dense(3),
    ])  # fmt: skip


def in_torch(backbone, *pictures):
    import torch

    from isthmus.backbone.networks import Normalised

    batch = np.stack([backbone.preprocess(p) for p in pictures])
    with torch.no_grad():
        network = Normalised(backbone.build(), backbone.recipe).eval()
        return network(torch.from_numpy(batch)).numpy()


def by_keras(model, backbone):
    """(1, h, w, 3) float pixels by our recipe, through Keras itself."""
    values = np.moveaxis(recipes.apply(picture(), backbone.recipe), 0, -1)[None]
    return np.asarray(model(values, training=False).detach())


@pytest.mark.filterwarnings("ignore:.*HDF5 file.*")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_file_gives_what_its_last_dense_layer_sees(suffix, small, keras, tmp_path):
    file = tmp_path / f"m{suffix}"
    small.save(file)
    backbone = load_backbone(str(file))
    assert backbone.num_features == 16
    assert backbone.recipe["scale"] == 1.0  # it rescales inside
    inner = keras.Model(small.inputs[0], small.layers[-2].output)
    expected = by_keras(inner, backbone)
    np.testing.assert_allclose(in_torch(backbone, picture()), expected, atol=1e-5)
    assert backbone.engine == "onnxruntime"
    found = backbone(backbone.preprocess(picture())[None])
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert load_backbone(**backbone.reference).fingerprint == backbone.fingerprint


def test_layers_and_pooling(small, keras, tmp_path):
    small.save(tmp_path / "m.keras")
    backbone = load_backbone(tmp_path / "m.keras", layer="map", pooling="max")
    maps = by_keras(keras.Model(small.inputs[0], small.get_layer("map").output), backbone)
    np.testing.assert_allclose(in_torch(backbone, picture()), maps.max((1, 2)), atol=1e-5)
    with pytest.raises(UsageError, match="did you mean map"):
        load_backbone(tmp_path / "m.keras", layer="maps")


def test_scaling_of_a_model_without_its_own(keras, tmp_path, caplog):
    file = tmp_path / "plain.keras"
    keras.Sequential([
        keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D(),
    ]).save(file)  # fmt: skip
    unit = load_backbone(file)
    assert unit.recipe["scale"] == pytest.approx(1 / 255) and "@caffe" in caplog.text
    caffe = load_backbone(f"keras:{file}@caffe")
    assert caffe.recipe["channels"] == "BGR"
    assert caffe.fingerprint != unit.fingerprint
    assert unit.reference["spec"].endswith("@unit")


def test_vgg16_runs_end_to_end_and_equals_keras(keras):
    backbone = load_backbone("keras:VGG16", weights="random", size=32)
    found = backbone(backbone.preprocess(picture())[None])
    assert backbone.engine == "onnxruntime" and found.shape == (1, 512)
    from isthmus.backbone.keras import _seed

    model = keras.applications.VGG16(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3)
    )
    _seed(model)
    expected = by_keras(model, backbone)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_application_weights_from_h5(keras, tmp_path):
    make = keras.applications.MobileNetV2
    shape = {"include_top": False, "input_shape": (32, 32, 3)}
    model = make(weights=None, **shape)
    file = tmp_path / "mine.weights.h5"
    model.save_weights(file)
    backbone = load_backbone("keras:MobileNetV2", weights=file, size=32)
    expected = by_keras(model, backbone).mean((1, 2))
    np.testing.assert_allclose(in_torch(backbone, picture()), expected, atol=1e-5)
    with pytest.raises(BackboneError, match="do not fit"):
        load_backbone("keras:VGG16", weights=file, size=32)
    with pytest.raises(BackboneError, match="weights but no model"):
        load_backbone(file)


def test_missing_weights_and_unknown_names(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(BackboneError, match=r"vgg16_weights.*notop\.h5.*--weights FILE"):
        load_backbone("keras:VGG16")
    with pytest.raises(BackboneError, match="did you mean VGG16"):
        load_backbone("keras:vgg16")


def test_code_in_files_is_refused(keras, tmp_path):
    evil = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x)])
    evil.save(tmp_path / "evil.keras")
    with pytest.raises(BackboneError, match="Lambda"):
        load_backbone(tmp_path / "evil.keras")
    with zipfile.ZipFile(tmp_path / "slip.keras", "w") as archive:
        archive.writestr("../../evil", "x")
    with pytest.raises(BackboneError, match="leads outside"):
        load_backbone(tmp_path / "slip.keras")


def run(code, **env):
    full = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | env
    return subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, timeout=300
    )


def test_the_users_backend_is_respected():
    code = (
        "import os, sys\n"
        "from isthmus.backbone.keras import keras_on_torch\n"
        "from isthmus.errors import BackboneError\n"
        "before = os.environ.get('KERAS_BACKEND')\n"
        "try:\n    keras_on_torch(); print('ran')\n"
        "except BackboneError as error: print(error)\n"
        "assert os.environ.get('KERAS_BACKEND') == before\n"
    )
    assert "KERAS_BACKEND is set to 'jax'" in run(code, KERAS_BACKEND="jax").stdout
    assert run(code).stdout.strip() == "ran"


def test_keras_on_another_backend_is_not_used(monkeypatch):
    running = types.SimpleNamespace(backend=types.SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", running)
    with pytest.raises(BackboneError, match="already imported with the backend 'jax'"):
        load_backbone("keras:VGG16", weights="random", size=32)
