"""`isthmus transfer --method` as a person types it: named, repeated, `all`, misspelt."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from isthmus.cli.main import cli, run
from isthmus.demo.cases import DATA

HEART = DATA / "heart" / "heart.csv"


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Two hospitals as the arguments of a run; a head in closed form keeps it quick."""
    frame = pd.read_csv(HEART)
    first, second = frame["hospital"].unique()[:2]
    folder = tmp_path_factory.mktemp("heart")
    for name, hospital in (("s", first), ("t", second)):
        rows = frame[frame["hospital"] == hospital].head(120)
        rows.to_csv(folder / f"{name}.csv", index=False)
    names = ("--label", "num>0", "--domain", "hospital", "--head", "nearest-mean")
    return ["--source", str(folder / "s.csv"), "--target", str(folder / "t.csv"), *names]


def call(*given):
    done = CliRunner().invoke(cli, list(map(str, given)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_one_method_its_saved_model_and_its_words(words, tmp_path):
    text = call("transfer", *words, "--method", "coral", "--out", tmp_path / "run")
    assert "*  coral" in text and "chosen by hand; nothing proves" in text
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["chosen"] == "coral" and results["settings"]["method"] == "coral"
    assert "is whole" in call("verify", tmp_path / "run")
    csv = call("predict", tmp_path / "run", words[3]).splitlines()
    run_csv = (tmp_path / "run" / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in csv] == [line.split(",")[1] for line in run_csv]


def test_repeated_and_all(words):
    found = json.loads(
        call("transfer", *words, "--method", "coral", "--method", "kmm", "--format", "json")
    )
    assert [r["route"] for r in found["routes"] if r.get("by_hand")] == ["coral", "kmm"]
    assert found["chosen"] == "source-only"
    text = call("transfer", *words, "--method", "all")
    assert "source-only serves by rule: nothing tells" in text and "methods apart from it" in text
    # the reason is said once, not on every line
    assert text.count("there are no labelled target rows to score it on") == 1


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("corall", "Did you mean coral"),
        ("jdot-regressor", "for regression"),
        ("balanced-weights", "--shots K"),
    ],
)
def test_what_cannot_be_is_wrong_usage_and_writes_nothing(words, method, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(["transfer", *words, "--method", method, "--out", str(tmp_path / "run")])
    assert stop.value.code == 2 and said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
