"""`isthmus finetune`: real rows through the command, its files, and the same call again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from isthmus import iofs
from isthmus.cli.finetune import command
from isthmus.errors import UsageError

pytest.importorskip("torch")


def call(*words):
    done = CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def heart(real_data, out, *more):
    return (
        "--source", real_data / "heart" / "heart.csv", "--label", "num>0",
        "--domain", "hospital", "--source-domain", "cleveland", "--target-domain", "hungarian",
        "--epochs", "8", "--out", out, "--format", "json", *more,
    )  # fmt: skip


@pytest.mark.data
def test_a_hospital_table_with_an_alignment_method(real_data, tmp_path):
    words = heart(real_data, tmp_path / "run", "--method", "dann")
    found = json.loads(call(*words))
    assert found["score"]["accuracy"]["value"] > 0.7  # majority class: 0.64
    assert len(found["log"]) == 8
    assert {"task", "dann", "dann_domain_accuracy"} <= set(found["log"][0]["losses"])
    assert 0 <= found["log"][-1]["target_confidence"] <= 1
    folder = tmp_path / "run"
    for name in ("results.json", "predictions.csv", "metrics.jsonl", "network/network.json"):
        assert (folder / name).exists(), name
    weights = iofs.read_tensors(folder / "network" / "network.safetensors")
    assert np.isfinite(weights["head.weight"]).all()
    assert json.loads(call(*words)) == found  # the same call again: read back, the same numbers
    with pytest.raises(UsageError, match="another call"):
        call(*heart(real_data, folder, "--method", "mcc"))


@pytest.mark.data
def test_the_network_itself_on_a_few_photos(real_data, tmp_path):
    pytest.importorskip("timm")
    source, target = tmp_path / "a", tmp_path / "b"
    for digit in "01":
        photos = sorted((real_data / "sign_digits" / digit).glob("*.JPG"))[:8]
        if not photos:
            pytest.skip("no sign photos")
        for k, photo in enumerate(photos):
            folder = (source if k < 5 else target) / digit
            folder.mkdir(parents=True, exist_ok=True)
            (folder / photo.name).write_bytes(photo.read_bytes())
    said = call(
        "--source", source, "--target", target, "--on", "network", "--weights", "random",
        "--backbone", "timm:test_efficientnet", "--strategy", "lp-ft", "--epochs", "2",
        "--batch-size", "4", "--augment", "light", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "accuracy on the target" in said and "lp-ft" in said
    assert (tmp_path / "run" / "checkpoints" / "labelled" / "checkpoint.json").exists()


@pytest.mark.data
def test_an_unknown_method_is_named(real_data, tmp_path):
    with pytest.raises(UsageError, match="no alignment method 'no-such-method'"):
        call(*heart(real_data, tmp_path / "other", "--method", "no-such-method"))
