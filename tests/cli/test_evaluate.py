from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus.backbone import embed, load_backbone
from isthmus.cli.main import run
from isthmus.data import read
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.model import FeatureModel
from isthmus.serve import save_model


@pytest.fixture(scope="module", params=["classification", "multilabel", "regression"])
def made(request, tmp_path_factory):
    """A model of each task and labelled data for it."""
    task = request.param
    folder = tmp_path_factory.mktemp(task)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)).astype(np.float32)
    labels = {
        "classification": np.where(X[:, 0] > 0, "yes", "no"),
        "multilabel": np.column_stack([X[:, 0] > 0, X[:, 1] > 0]),
        "regression": X[:, 0] * 3 + 1,
    }[task]
    np.savez(folder / "data.npz", X=X, y=labels)
    np.savez(folder / "bare.npz", X=X)
    samples = read((X, labels), task=task)
    backbone = load_backbone("identity", modality="features").fixed(4)
    model = FeatureModel(FeatureProcessor(), "ridge", task=task, classes=samples.classes)
    model.fit(embed(backbone, samples).features, samples.labels)
    save_model(
        folder / "model",
        model=model,
        backbone=backbone,
        samples_like=samples,
        task=task,
        classes=samples.classes,
    )
    return task, folder


def call(capsys, *args):
    with pytest.raises(SystemExit) as done:
        run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return done.value.code or 0, out, err


def test_figures_come_with_intervals(made, capsys):
    task, folder = made
    args = ("evaluate", folder / "model", folder / "data.npz")
    code, out, _ = call(capsys, *args, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert found["rows"] == {"bad": 0, "scored": 80, "seen": 80, "unlabelled": 0}
    name, worst = {
        "classification": ("accuracy", 0.9),
        "multilabel": ("f1_micro", 0.9),
        "regression": ("r2", 0.99),
    }[task]
    figure = found[name]
    assert worst < figure["value"] <= 1
    assert figure["low"] <= figure["value"] <= figure["high"] and figure["level"] == 0.95
    assert call(capsys, *args, "--format", "json")[1] == out
    code, out, _ = call(capsys, *args)
    assert code == 0 and "80 of 80 rows scored" in out
    words = {"classification": "accuracy", "multilabel": "F1, micro", "regression": "R2"}
    assert words[task] in out and "[" in out


def test_without_labels_there_is_nothing_to_score(made, capsys):
    _, folder = made
    code, out, err = call(capsys, "evaluate", folder / "model", folder / "bare.npz")
    assert code == 1 and out == "" and "no labels" in err


def test_refusals(made, capsys, tmp_path):
    _, folder = made
    assert call(capsys, "evaluate", folder / "model")[0] == 2
    code, _, err = call(capsys, "evaluate", tmp_path, folder / "data.npz")
    assert code == 1 and "not a saved model" in err
