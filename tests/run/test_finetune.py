"""`isthmus finetune`: real rows through the command, its files, the same call again, and the
folder as a model that is loaded, checked, scored and reported."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import isthmus
from isthmus.cli.finetune import command
from isthmus.data.checks import FindingError
from isthmus.errors import UsageError
from isthmus.report import write_report
from isthmus.run.finetune import finetune

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


def same_again(folder, data, **reading):
    """Predictions of the loaded model and of the run, to the last digit that is kept."""
    before = pd.read_csv(folder / "predictions.csv", dtype={"id": str, "prediction": str})
    model = isthmus.load(folder)
    found = model.predict(data, **reading).set_index("id").loc[before["id"]]
    assert found["prediction"].tolist() == before["prediction"].tolist()
    np.testing.assert_array_equal(found["confidence"].round(6), before["confidence"])
    return model


@pytest.mark.data
def test_a_hospital_table_with_an_alignment_method(real_data, tmp_path):
    words = heart(real_data, tmp_path / "run", "--method", "dann")
    found = json.loads(call(*words))
    assert found["score"]["accuracy"]["value"] > 0.7  # majority class: 0.64
    assert found["proof"]["kind"] == "sealed" and found["proof"]["openings"] == 1
    assert {"majority", "no transfer"} <= set(found["proof"]["gains"])
    assert len(found["log"]) == 8
    assert {"task", "dann", "dann_domain_accuracy"} <= set(found["log"][0]["losses"])
    assert 0 <= found["log"][-1]["target_confidence"] <= 1
    folder = tmp_path / "run"
    for name in ("results.json", "predictions.csv", "metrics.jsonl", "manifest.json"):
        assert (folder / name).exists(), name
    assert json.loads(call(*words)) == found  # the same call again: read back, the same numbers
    with pytest.raises(UsageError, match="another call"):
        call(*heart(real_data, folder, "--method", "mcc"))

    table = pd.read_csv(real_data / "heart" / "heart.csv")
    model = same_again(folder, str(real_data / "heart" / "heart.csv"))
    assert model.verify()["ok"]
    here = tmp_path / "hungarian.csv"
    table[table["hospital"] == "hungarian"].to_csv(here, index=False)
    scored = model.evaluate(str(here))
    assert scored["accuracy"].value == found["score"]["accuracy"]["value"]
    strange = table[table["hospital"] == "hungarian"].assign(chol=lambda t: t["chol"] / 38.67)
    broken = model.predict(strange.drop(columns=["num"])).attrs["findings"]
    assert any("'chol'" in finding["title"] for finding in broken)  # mmol/l is another unit

    page = write_report(folder)
    html = page.file.read_text(encoding="utf-8")
    assert {"training", "answers", "routes", "calibration"} <= set(page.sections)
    assert 'aria-label="metrics: adapted: dann loss, task loss"' in html
    assert "isthmus finetune" in html and "--method dann" in html


def test_checks_stop_a_run_and_warnings_travel(tmp_path):
    """A test set that is the source once more is an error of the checks."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(160, 4)).round(4), columns=list("abcd"))
    frame["label"] = np.where(frame["a"] + 0.3 * frame["b"] > 0, "yes", "no")
    source, target = frame[:80], frame[80:].drop(columns="label")
    common = {"test": source, "label": "label", "epochs": 2, "say": lambda text: None}
    with pytest.raises(FindingError, match="ISX003"):
        finetune(source, target, **common, out=tmp_path / "run")
    assert not (tmp_path / "run" / "results.json").exists()
    # the remedy that was printed is taken in the same folder: nothing was worked out there
    done = finetune(source, target, **common, allow="ISX001,ISX003", out=tmp_path / "run")
    over = [f for f in done.results["findings"] if f["code"] == "ISX003"]
    assert over and all(f["overridden"] for f in over)
    assert "Overridden ISX003" in done.text()
    with pytest.raises(UsageError, match="results of another call"):
        finetune(source, target, **common, allow="ISX001", out=tmp_path / "run")


def test_rows_and_epochs_are_those_that_were_used(tmp_path):
    """Every target row has a label, some of them only watch, and early stopping stops."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 4)).round(4), columns=list("abcd"))
    frame["label"] = np.where(frame["a"] + 0.3 * frame["b"] > 0, "yes", "no")
    for name, rows in (("train", frame[:70]), ("val", frame[70:90]), ("test", frame[90:])):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    common = {"label": "label", "shots": "all", "epochs": 30, "patience": 1, "lr": 0.05}
    done = finetune(None, tmp_path, **common, say=lambda text: None)
    rows = done.results["rows"]
    assert rows == {"source": 0, "labelled": 70, "test": 30, "target": 0}
    assert "70 labelled and 0 unlabelled target rows" in done.text()
    assert done.results["epochs_done"] == len(done.results["log"]) < 30
    assert f"{len(done.results['log'])} of 30 epochs" in done.text()


@pytest.mark.data
def few_photos(real_data, tmp_path):
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
    return source, target


@pytest.mark.data
def test_the_network_itself_on_a_few_photos(real_data, tmp_path):
    source, target = few_photos(real_data, tmp_path)
    said = call(
        "--source", source, "--target", target, "--on", "network", "--weights", "random",
        "--backbone", "timm:test_efficientnet", "--strategy", "lp-ft", "--epochs", "2",
        "--batch-size", "4", "--augment", "light", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "accuracy on the target" in said and "lp-ft" in said
    assert "ISX017" in said  # weights drawn at random: a warning that travels
    assert (tmp_path / "run" / "checkpoints" / "labelled" / "checkpoint.json").exists()
    model = same_again(tmp_path / "run", str(target))
    assert model.backbone.name == "timm:test_efficientnet (fine-tuned)"
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["backbone"]["state"]["kind"] == "trained"
    assert model.verify()["replayed"] > 0


@pytest.mark.data
def test_the_training_in_hand_on_a_few_photos(real_data, tmp_path):
    """Mixtures, averages, penalties, one block, a method after the training: all by the command."""
    source, target = few_photos(real_data, tmp_path)
    found = json.loads(call(
        "--source", source, "--target", target, "--on", "network", "--weights", "random",
        "--backbone", "timm:test_efficientnet", "--strategy", "top-k", "--blocks", "1",
        "--epochs", "2", "--batch-size", "4", "--accumulate", "2", "--clip", "1", "--ema", "0.9",
        "--mix", "cutmix", "--penalty", "l2-sp,bss", "--method", "adabn", "--warmup", "0.1",
        "--label-smoothing", "0.1", "--precision", "bfloat16", "--schedule", "linear",
        "--out", tmp_path / "run", "--format", "json",
    ))  # fmt: skip
    told = found["settings"]
    for name, value in {
        "blocks": 1, "accumulate": 2, "clip": 1.0, "ema": 0.9, "mix": "cutmix", "warmup": 0.1,
        "penalty": "l2-sp,bss", "method": "adabn", "precision": "bfloat16", "schedule": "linear",
    }.items():  # fmt: skip
        assert told[name] == value, name
    assert {"task", "l2sp", "bss"} <= set(found["log"][0]["losses"])
    same_again(tmp_path / "run", str(target))
    # the norms of what is served hold the target's statistics: others than the source's training
    from safetensors.numpy import load_file

    (saved,) = (tmp_path / "run" / "checkpoints" / "labelled").glob("*.safetensors")
    plain = load_file(saved)
    served = load_file(tmp_path / "run" / "model.safetensors")
    means = [name for name in served if name.endswith("running_mean")]
    assert means
    for name in means:
        layer = name.split(".", 1)[1]
        before = next(v for key, v in plain.items() if key.endswith(layer))
        assert not np.array_equal(before, served[name])


@pytest.mark.data
def test_what_osbp_takes_for_no_class_is_said(real_data, tmp_path):
    found = json.loads(call(*heart(real_data, tmp_path / "run", "--method", "osbp")))
    assert any("osbp takes" in note and "of 294 target rows" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"blocks": 2}, "--blocks 2 is of --strategy top-k"),
        ({"strategy": "top-k", "rank": 2}, "--rank 2 is of --strategy lora"),
        ({"mix": "cutmix"}, "no rectangles"), ({"mix": "mixing"}, "mix='mixing'"),
        ({"accumulate": 3}, "64 cannot be cut into 3"), ({"ema": 1.5}, "ema=1.5"),
        ({"clip": -1.0}, "clip=-1"), ({"label_smoothing": 1.0}, "label_smoothing=1"),
        ({"penalty": ("l2",)}, "no penalty 'l2'"),
        ({"penalty": ("bss", "l2-sp")}, "L2SP would keep the small network near its start"),
        ({"precision": "half"}, "unknown precision"),
        ({"method": "mcd", "mix": "mixup"}, "MCD does not take mix"),
        ({"method": "tent"}, "no batch normalisation"), ({"domain_norms": True}, "--domain-norms"),
    ],
)  # fmt: skip
def test_a_training_that_means_nothing_is_refused_first(wrong, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        finetune(tmp_path / "nowhere", tmp_path / "nowhere", **wrong, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lr": -1.0}, "lr=-1.0"), ({"lr": float("inf")}, "lr=inf"), ({"epochs": 0}, "epochs=0"),
        ({"patience": 0}, "patience=0"), ({"device": "gpu"}, "device='gpu' cannot be used here"),
        ({"trade_off": 3.0}, "there is none"), ({"method": "shot", "trade_off": 1.0}, "no setting"),
        ({"method": "mcc", "trade_off": -5.0}, "trade_off=-5"),
        ({"method": "mcc", "trade_off": float("nan")}, "trade_off=nan"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_anything_is_read(wrong, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        finetune(tmp_path / "nowhere", tmp_path / "nowhere", **wrong, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_method_is_named(real_data, tmp_path):
    with pytest.raises(UsageError, match="no alignment method 'no-such-method'"):
        call(*heart(real_data, tmp_path / "other", "--method", "no-such-method"))
