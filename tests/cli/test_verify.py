from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from isthmus.backbone import embed, load_backbone
from isthmus.cli.main import run
from isthmus.data import read
from isthmus.fit.model import FeatureModel
from isthmus.serve import save_model


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "model"
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    samples = read((X, np.where(X[:, 0] > 0, "yes", "no")))
    backbone = load_backbone("identity", modality="features").fixed(3)
    model = FeatureModel(None, "nearest-mean", classes=samples.classes)
    model.fit(embed(backbone, samples).features, samples.labels)
    save_model(
        folder,
        model=model,
        backbone=backbone,
        samples_like=samples,
        task="classification",
        classes=samples.classes,
        examples=samples,
    )
    return folder


@pytest.fixture
def model(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "model")


def call(capsys, *args):
    with pytest.raises(SystemExit) as done:
        run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return done.value.code or 0, out, err


def test_a_sound_model(model, capsys):
    code, out, err = call(capsys, "verify", model)
    assert code == 0 and err == ""
    assert "8 examples replayed" in out and "FAILED" not in out
    code, out, _ = call(capsys, "verify", model, "--format", "json")
    report = json.loads(out)
    assert code == 0 and report["ok"] and report["replayed"] == 8


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "model.safetensors", "examples/inputs.json", "examples/outputs.safetensors"],
)
def test_the_damaged_file_is_named(model, capsys, name):
    raw = bytearray((model / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (model / name).write_bytes(raw)
    code, out, _ = call(capsys, "verify", model)
    assert code == 1
    assert f"FAILED  {name}" in out and f"must not be used: {name}" in out
    code, out, _ = call(capsys, "verify", model, "--format", "json")
    report = json.loads(out)
    assert code == 1
    assert [c["file"] for c in report["checks"] if not c["ok"]] == [name]


def test_what_is_no_model(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "gone"):
        code, out, err = call(capsys, "verify", folder)
        assert code == 1 and "not a saved model" in out + err


def test_verify_changes_nothing(model, capsys):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in model.rglob("*") if p.is_file()}
    call(capsys, "verify", model)
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in model.rglob("*") if p.is_file()}
    assert before == after
