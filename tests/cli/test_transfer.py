"""`isthmus transfer` as a person types it: real files, all modalities, machines, interruptions."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from isthmus.cli.main import cli
from isthmus.demo.cases import DATA

SIGNS, REVIEWS, SPOKEN, HEART = (
    DATA / "signs",
    DATA / "reviews" / "sentences.csv",
    DATA / "spoken_digits",
    DATA / "heart" / "heart.csv",
)


def transfer(*words: object, ok: bool = True) -> dict:
    """Run the command with --format json; the parsed results."""
    done = CliRunner().invoke(cli, ["transfer", *map(str, words), "--format", "json"])
    if ok:
        assert done.exception is None, (done.output, done.exception)
        return json.loads(done.stdout)
    raise AssertionError("use `fails` for refusals")


def shell(*words: object, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "isthmus", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


@pytest.fixture(scope="module")
def few_signs(tmp_path_factory):
    """Three classes of ten photos: quick, and real."""
    folder = tmp_path_factory.mktemp("signs")
    for digit in "013":
        shutil.copytree(SIGNS / digit, folder / digit)
        for extra in sorted((folder / digit).iterdir())[10:]:
            extra.unlink()
    return folder


def test_photos_from_few_labels(few_signs, tmp_path):
    results = transfer("--target", few_signs, "--shots", 4, "--out", tmp_path / "run")
    assert results["modality"] == "image" and results["classes"] == ["0", "1", "3"]
    assert results["proof"]["kind"] == "sealed" and results["proof"]["rows"] == 18
    assert results["proof"]["headline"]["target-only"]["value"] > 0.6
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"results.json", "run.json", "predictions.csv", "manifest.json"} <= names
    saved = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype=str)
    assert len(saved) == 18 and set(saved["prediction"]) <= {"0", "1", "3"}


def test_reviews_from_two_sites_to_a_third(tmp_path):
    frame = pd.read_csv(REVIEWS)
    few = frame.groupby(["domain", "label"]).head(60)
    few.to_csv(tmp_path / "few.csv", index=False)
    results = transfer(
        "--source", tmp_path / "few.csv", "--source-domain", "amazon,yelp",
        "--target-domain", "imdb",
    )  # fmt: skip
    assert results["chosen"] == "source-only"
    scores = results["proof"]["headline"]
    assert scores["source-only"]["value"] > 0.7 > scores["majority"]["value"]
    assert results["proof"]["gains"]["no transfer"]["low"] > 0


def test_spoken_digits_to_unheard_speakers():
    results = transfer(
        "--source", SPOKEN, "--label", "{label}_{domain}_{take}",
        "--source-domain", "george,jackson,lucas,nicolas", "--target-domain", "theo,yweweler",
    )  # fmt: skip
    assert results["proof"]["headline"]["source-only"]["value"] > 0.9


def test_heart_disease_between_hospitals():
    results = transfer(
        "--source", HEART, "--label", "num>0", "--source-domain", "cleveland",
        "--target-domain", "hungarian", "--shots", 10,
    )  # fmt: skip
    assert results["modality"] == "table" and len(results["classes"]) == 2
    assert {r["status"] for r in results["routes"]} == {"scored"}
    assert results["proof"]["headline"][results["chosen"]]["value"] > 0.7


def test_a_label_file_names_rows_of_the_target(few_signs, tmp_path):
    rows = [
        {"id": f"{d}/{p.name}", "label": {"0": "zero", "1": "one", "3": "three"}[d]}
        for d in "013"
        for p in sorted((few_signs / d).iterdir())[:5]
    ]
    flat = tmp_path / "flat"
    flat.mkdir()
    for digit in "013":
        for file in (few_signs / digit).iterdir():
            shutil.copy(file, flat / file.name)
    frame = pd.DataFrame(rows)
    frame["id"] = [name.split("/")[1] for name in frame["id"]]
    frame.to_csv(tmp_path / "labels.csv", index=False)
    results = transfer("--target", flat, "--target-labels", tmp_path / "labels.csv")
    assert results["classes"] == ["one", "three", "zero"]
    assert results["data"]["labelled target"]["rows"] == 15
    frame.loc[0, "id"] = "nobody.jpg"
    frame.to_csv(tmp_path / "labels.csv", index=False)
    done = shell("transfer", "--target", flat, "--target-labels", tmp_path / "labels.csv")
    assert done.returncode == 1 and "nobody.jpg" in done.stderr


def test_bad_files_are_listed_and_stop_the_run_above_the_limit(few_signs, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(few_signs, broken)
    victim = sorted((broken / "1").iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:700])
    done = shell("transfer", "--target", broken, "--shots", 3)
    assert done.returncode == 1
    assert victim.name in done.stderr and "--max-bad" in done.stderr
    results = transfer(
        "--target", broken, "--shots", 3, "--max-bad", 0.1, "--out", tmp_path / "run"
    )
    assert [row["where"] for row in results["quarantine"]["rows"]] == [f"1/{victim.name}"]
    assert (tmp_path / "run" / "quarantine.csv").read_text().count(victim.name) == 1


def test_a_small_budget_samples_the_source_and_says_so(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 5)), columns=list("abcde"))
    frame["label"] = np.where(frame["a"] > 0, "up", "down")
    frame.to_csv(tmp_path / "s.csv", index=False)
    other = pd.DataFrame(rng.normal(size=(400, 5)), columns=list("abcde"))
    other.to_csv(tmp_path / "t.csv", index=False)
    results = transfer(
        "--source", tmp_path / "s.csv", "--target", tmp_path / "t.csv", "--time", "5m"
    )
    assert results["settings"]["time"] == 300


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--target", "nowhere"], 1, "nowhere"),
        (["--target", str(SIGNS), "--shots", "0"], 2, "--shots"),
        (["--target", str(SIGNS), "--time", "soon"], 2, "duration"),
        (
            ["--target", str(SIGNS), "--backbone", "timm:resnett50"],
            None,
            "resnet50",
        ),
        (["--targett", str(SIGNS)], 2, "--target"),
        (["--target", str(HEART), "--label", "numm"], 2, "num"),
        (["--source", str(REVIEWS), "--target-domain", "imdbb"], 2, "imdb"),
    ],
)
def test_mistakes_get_an_answer_and_no_traceback(words, code, said):
    done = shell("transfer", *words)
    assert done.returncode == code if code is not None else done.returncode in (1, 2)
    assert said in done.stderr and "Traceback" not in done.stderr


def test_errors_are_json_for_a_machine():
    done = shell("transfer", "--target", "nowhere", "--format", "json")
    assert json.loads(done.stdout)["where"].endswith("nowhere")
    assert done.returncode == 1


def test_fresh_processes_and_renamed_order_give_the_same_bytes(few_signs, tmp_path):
    """The same files copied in another order, a cold and a warm store: one result."""
    shuffled = tmp_path / few_signs.name
    files = list(few_signs.rglob("*.JPG"))
    random.Random(3).shuffle(files)
    for file in files:
        place = shuffled / file.relative_to(few_signs)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    outputs = []
    for number, folder in enumerate((few_signs, shuffled, few_signs)):
        env = os.environ | {"ISTHMUS_CACHE": str(tmp_path / f"cache{number % 2}")}
        out = tmp_path / f"run{number}"
        done = shell("transfer", "--target", folder, "--shots", 4, "--out", out, env=env)
        assert done.returncode == 0, done.stderr
        outputs.append([(out / n).read_bytes() for n in ("results.json", "predictions.csv")])
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_with_the_same_command(few_signs, tmp_path, how):
    words = ["transfer", "--target", few_signs, "--shots", "4", "--out", tmp_path / "run"]
    env = os.environ | {"ISTHMUS_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "isthmus", *map(str, words)]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    said = process.communicate(timeout=120)[1]
    if how is signal.SIGINT and not (tmp_path / "run" / "results.json").exists():
        assert process.returncode == 130 and "resumes" in said and "Traceback" not in said
    done = shell(*words, env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "results.json").exists()
