"""`isthmus diagnose` on real tables and texts, as a person types it."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from isthmus.cli.diagnose import command
from isthmus.cli.main import run
from isthmus.demo.cases import DATA

HEART = DATA / "heart" / "heart.csv"


def call(*words):
    done = CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def heart(*more):
    """Two hospitals of one table."""
    names = pd.read_csv(HEART)["hospital"].unique()
    words = ("--label", "num>0", "--domain", "hospital")
    pair = ("--source-domain", names[0], "--target-domain", names[1])
    return call(HEART, *words, *pair, *more)


def test_a_table_with_two_hospitals():
    text = heart()
    for part in (
        "Gap between the domains",
        "domain AUC",
        "proxy A-distance",
        "MMD",
        "sliced Wasserstein",
        "CORAL distance",
        "OTDD (with labels)",
        "A model of the source",
        "Class shares",
        "Each class",
        "Features one by one",
        "In short",
    ):
        assert part in text
    assert re.search(r"domain AUC +[01]\.\d{3} \[\d", text)
    # features have the names of the columns
    assert re.search(r"^  (chol|ca|thalach|trestbps|ca is missing)\b.*KS 0\.\d", text, re.M)


def test_json_holds_every_sentence_and_repeats():
    found = json.loads(heart("--format", "json"))
    assert [gap["key"] for gap in found["gaps"]] == [
        "domain_auc",
        "a_distance",
        "mmd",
        "sliced_wasserstein",
        "coral_distance",
        "otdd",
    ]
    assert all(gap["reading"].endswith(".") for gap in found["gaps"])
    assert found["source_model"]["source"]["value"] > 0.6
    assert found["target"]["labelled"] == found["target"]["rows"]
    assert json.loads(heart("--format", "json")) == found


@pytest.fixture
def files(tmp_path):
    """A source with labels, a target without, and labels of some target rows."""
    rng = np.random.default_rng(0)

    def write(name, n, shift, label):
        codes = np.arange(n) % 2
        X = rng.normal(size=(n, 3)) + 3 * codes[:, None] + shift
        frame = pd.DataFrame(X, columns=["height", "weight", "age"]).round(4)
        frame.insert(0, "id", [f"{name}{i}" for i in range(n)])
        if label:
            frame["kind"] = np.array(["left", "right"])[codes]
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        return frame["id"], codes

    write("s", 80, 0.0, True)
    ids, codes = write("t", 60, [0, 0, 2], False)
    some = pd.DataFrame({"id": ids, "label": np.array(["left", "right"])[codes]})[:30]
    some.to_csv(tmp_path / "some.csv", index=False)
    return tmp_path


def test_without_target_labels_the_class_shares_are_estimated(files):
    text = call(files / "s.csv", files / "t.csv", "--label", "kind", "--id", "id")
    assert "no labels" in text and "estimates without target labels (MLLS" in text
    assert "BBSE" in text and "OTDD" not in text and "by predictions" in text
    assert re.search(r"^  age +KS 0\.\d+ +mean \+\d", text, re.M)


def test_a_file_of_target_labels(files):
    found = json.loads(
        call(
            files / "s.csv",
            files / "t.csv",
            "--label",
            "kind",
            "--id",
            "id",
            "--target-labels",
            files / "some.csv",
            "--format",
            "json",
        )
    )
    assert found["target"]["labelled"] == 30
    assert found["prior"]["from"] == "target labels"
    assert sum(c["target"] for c in found["per_class"]["classes"]) == 30


def test_a_source_without_labels_is_compared_all_the_same(files):
    text = call(files / "t.csv", files / "t.csv", "--id", "id", "--label", "none")
    assert "no gap between the domains" in text.lower().replace("\n", " ")
    assert "Class shares" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([HEART], "two domains are needed"),
        ([HEART, "no_such.csv"], "no_such.csv"),
        ([HEART, "--domain", "hospital", "--target-domain", "nowhere"], "two domains|nowhere"),
    ],
)
def test_refusals(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        run(["diagnose", *map(str, words)])
    assert stop.value.code in (1, 2)
    assert re.search(said, capsys.readouterr().err)


def test_texts(tmp_path):
    reviews = pd.read_csv(DATA / "reviews" / "sentences.csv")
    domains = reviews["domain"].unique()
    few = reviews.groupby("domain").head(60)
    few.to_csv(tmp_path / "few.csv", index=False)
    text = call(
        tmp_path / "few.csv",
        "--domain",
        "domain",
        "--source-domain",
        domains[0],
        "--target-domain",
        domains[1],
    )
    assert "(text, classification)" in text and "feature " in text


def test_each_of_several_sources_is_held_out_in_turn():
    names = list(pd.read_csv(HEART)["hospital"].unique())
    words = ("--label", "num>0", "--domain", "hospital", "--target-domain", names[3])
    words = (*words, "--source-domain", ",".join(names[:3]))
    found = json.loads(call(HEART, *words, "--format", "json"))["held_out_sources"]
    lines = [line for line in found["table"] if line["gain"] is None]
    sizes = pd.read_csv(HEART)["hospital"].value_counts()
    assert {line["source"]: line["rows"] for line in lines} == {n: sizes[n] for n in names[:3]}
    assert len(found["table"]) == 9 and len(found["gains"]) == 2
    by = {(line["source"], line["method"]): line for line in found["table"]}
    for (source, _), line in by.items():  # a gain is the difference of two rows of the table
        if line["gain"] is not None:
            base = by[source, "the other sources pooled"]["score"]["value"]
            assert line["score"]["value"] - base == pytest.approx(line["gain"]["value"])
    text = call(HEART, *words)
    assert "Each source held out in turn" in text and "mean of the sources" in text
    assert "Each source held out" not in heart()  # one source: nothing to hold out
