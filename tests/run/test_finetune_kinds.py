"""`--on network` for texts and recordings: trained, saved, loaded again, and killed on the way."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import isthmus
from isthmus.demo.cases import DATA
from isthmus.errors import BackboneError, BundleError, UsageError
from isthmus.run.finetune import finetune
from isthmus.serve.eject import eject

torch = pytest.importorskip("torch")
CASE = Path(__file__).with_name("finetune_case.py")


def call(encoder, source, target, out):
    """The run of the killed training; `finetune_case.py` makes the same."""
    return {
        "source": str(source), "target": str(target), "text": "text", "label": "label",
        "backbone": f"hf:{encoder}", "on": "network", "method": "dann", "augment": "standard",
        "epochs": 3, "batch_size": 16, "out": out, "device": "cpu",
    }  # fmt: skip


def told(folder):
    return pd.read_csv(folder / "predictions.csv", dtype={"id": str, "prediction": str})


def same_again(folder, data, **reading):
    """What the loaded model says of the target is what the run said, to the last digit kept."""
    frame = isthmus.load(folder).predict(data, **reading)
    before = told(folder)
    found = frame.set_index("id").loc[before["id"]]
    assert found["prediction"].tolist() == before["prediction"].tolist()
    np.testing.assert_array_equal(found["confidence"].round(6), before["confidence"])
    return frame


@pytest.mark.slow
def test_texts_with_masked_tokens(text_encoder, review_tables, tmp_path):
    source, target = review_tables
    encoder = shutil.copytree(text_encoder, tmp_path / "encoder")
    done = finetune(
        source, target, text="text", label="label", backbone=f"hf:{encoder}", on="network",
        method="mcc", augment="standard", epochs=4, batch_size=16, lr=2e-3, out=tmp_path / "run",
    )  # fmt: skip
    losses = [line["losses"]["task"] for line in done.results["log"]]
    assert losses[-1] < 0.9 * losses[0]  # it learns
    assert done.results["score"]["accuracy"]["value"] == np.mean(
        done.predicted == pd.read_csv(target, dtype=str)["label"].to_numpy()
    )
    shutil.rmtree(encoder)  # tokenizer and configuration travel with the model
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    same_again(moved, target, text="text")
    assert isthmus.load(moved).verify()["ok"]
    script, *_ = eject(moved, tmp_path / "script.py")
    texts = tmp_path / "new.csv"
    pd.read_csv(target)[["text"]].to_csv(texts, index=False)
    words = [sys.executable, "-I", str(script), str(texts)]
    answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(",")[1] for line in answer[1:]] == done.predicted.tolist()
    tokenizer = moved / "network" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("the", "eht", 1))
    with pytest.raises(BundleError, match="altered"):
        isthmus.load(moved)


@pytest.mark.slow
def test_a_killed_training_of_texts_ends_in_the_same_bits(text_encoder, review_tables, tmp_path):
    """Killed in the second of three epochs of four steps; the same call goes on from the first."""
    words = [sys.executable, CASE, text_encoder, *review_tables, tmp_path / "killed", 6]
    killed = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    kept = tmp_path / "killed" / "checkpoints" / "adapted"
    assert (kept / "checkpoint.json").exists()
    assert not (tmp_path / "killed" / "results.json").exists()
    for name in ("killed", "whole"):
        finetune(**call(text_encoder, *review_tables, tmp_path / name))
    for file in ("model.safetensors", "metrics.jsonl", "predictions.csv"):
        first, second = (tmp_path / name / file for name in ("killed", "whole"))
        assert first.read_bytes() == second.read_bytes(), file


def test_recordings_with_masks_noise_and_speed(tmp_path):
    pytest.importorskip("soxr")
    done = finetune(
        DATA / "spoken_digits", source_domain="george", target_domain="jackson",
        label="{label}_{domain}_{take}", on="network", augment="standard", epochs=3,
        batch_size=16, lr=3e-3, out=tmp_path / "run",
    )  # fmt: skip
    losses = [line["losses"]["task"] for line in done.results["log"]]
    assert losses[-1] < losses[0]
    assert "logmel:cnn" in done.results["trained_on"]
    codes = {finding["code"] for finding in done.results["findings"]}
    assert "ISX017" not in codes  # random weights are what was asked for
    model = isthmus.load(tmp_path / "run")
    assert model.backbone.length > 3000
    same_again(tmp_path / "run", DATA / "spoken_digits", label="{label}_{domain}_{take}")


def test_what_cannot_be_trained_is_refused_before_the_work(review_tables, tmp_path):
    source, target = review_tables
    with pytest.raises(UsageError, match="cannot be augmented"):
        finetune(source, target, text="text", label="label", augment="light")
    with pytest.raises(BackboneError, match="cannot be trained") as caught:
        finetune(
            DATA / "spoken_digits", target_domain="jackson", source_domain="george",
            label="{label}_{domain}_{take}", on="network", backbone="wakeword",
            out=tmp_path / "run",
        )  # fmt: skip
    assert "logmel:cnn" in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="no pretrained body"):
        finetune(
            DATA / "heart" / "heart.csv", source_domain="cleveland", target_domain="hungarian",
            label="num>0", on="network",
        )  # fmt: skip


def test_the_recipe_folders_trains_all_of_a_network_that_starts_from_nothing(tmp_path):
    for name, pitch in (("low", 200.0), ("high", 900.0)):
        (tmp_path / "T" / name).mkdir(parents=True)
        for i in range(6):
            wave = np.sin(2 * np.pi * (pitch + 5 * i) * np.arange(4000) / 8000)
            soundfile.write(tmp_path / "T" / name / f"{i}.wav", 0.5 * wave, 8000)
    done = finetune(target=tmp_path / "T", shots=3, recipe="folders", epochs=1, patience=1)
    assert done.results["strategy"] == done.results["settings"]["strategy"] == "full"
    assert any("starts from nothing: all of it is trained" in n for n in done.results["notes"])
    assert all(p.requires_grad for p in done.classifier.network_.parameters())
