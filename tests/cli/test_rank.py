"""`isthmus rank`: sources by labels and by gaps, backbones, and what cannot be ranked."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import isthmus.run.ranking as ranking
from isthmus.cli.main import run
from isthmus.cli.rank import command
from isthmus.run.ranking import rank


def call(*words):
    done = CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def rows(n, seed, *, shift=0.0, flip=False, noise=1.0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 2
    X = noise * rng.normal(size=(n, 4)) + 2 * codes[:, None] + shift
    return X.astype("f4"), np.array(["left", "right"], dtype=object)[codes ^ flip]


@pytest.fixture
def files(tmp_path):
    """A target, a source like it, one far away, and one whose labels say nothing."""
    rng = np.random.default_rng(9)

    def write(name, X, y=None, domain=None):
        frame = pd.DataFrame(X, columns=list("abcd")).round(4)
        if y is not None:
            frame["kind"] = y
        if domain is not None:
            frame["site"] = domain
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        return frame

    write("target", *rows(160, 0))
    write("bare", rows(160, 0)[0])
    near, far = rows(160, 1), rows(160, 2, shift=[3, -3, 0, 0])
    noise = rows(160, 3)[0], rng.permutation(rows(160, 3)[1])
    parts = [
        write(name, *pair, domain=name)
        for name, pair in (("near", near), ("far", far), ("noise", noise))
    ]
    parts.append(write("again", *rows(160, 0), domain="home"))
    pd.concat(parts).to_csv(tmp_path / "all.csv", index=False)
    return tmp_path


SOURCES = ("near", "far", "noise")


def order(text):
    return re.findall(r"^  \d+\. (\S+)", text, re.M)


def test_sources_by_target_labels(files):
    words = [w for name in SOURCES for w in ("--source", files / f"{name}.csv")]
    text = call("--target", files / "target.csv", *words, "--label", "kind", "--measure", "leep")
    assert order(text)[0] == "near.csv"
    assert "Sources by leep" in text and "hold together with 95 % confidence" in text
    assert "near.csv is the best" in text


def test_sources_without_target_labels_are_ranked_by_the_gap(files):
    words = [w for name in ("near", "far") for w in ("--source", files / f"{name}.csv")]
    text = call("--target", files / "bare.csv", *words, "--label", "kind")
    assert "Sources by sliced-wasserstein" in text
    assert order(text) == ["near.csv", "far.csv"]


@pytest.mark.parametrize("measure", ["coral-distance", "mmd", "accuracy", "nce"])
def test_every_measure_of_sources(files, measure):
    words = [w for name in ("near", "far") for w in ("--source", files / f"{name}.csv")]
    text = call("--target", files / "target.csv", *words, "--label", "kind", "--measure", measure)
    assert f"Sources by {measure}" in text and set(order(text)) == {"near.csv", "far.csv"}
    if measure in ("mmd", "accuracy"):
        assert order(text)[0] == "near.csv"


def test_the_domain_column_gives_the_candidates(files):
    found = json.loads(
        call(
            "--source",
            files / "all.csv",
            "--label",
            "kind",
            "--domain",
            "site",
            "--target-domain",
            "home",
            "--format",
            "json",
        )
    )
    names = {row["name"] for row in found["sources"]["rows"]}
    assert names == set(SOURCES) and found["sources"]["rows"][0]["name"] == "near"
    assert found["backbones"] is None
    for row in found["sources"]["rows"]:
        assert 1 <= row["low"] <= row["rank"] <= row["high"] <= 3


def test_sources_that_are_alike_are_not_told_apart():
    found = rank(rows(100, 0), source=[rows(200, 1), rows(200, 2)])
    assert [(row.low, row.high) for row in found.sources.rows] == [(1, 2), (1, 2)]
    assert "do not tell them apart" in found.text()


class Noisy:
    """A backbone on plain features: what it is given, and noise."""

    modality, batch_size, num_features = "features", 64, 4
    recipe: dict = {}  # noqa: RUF012
    reference = {"custom": True}  # noqa: RUF012

    def __init__(self, name, noise):
        self.name, self.noise = name, noise
        # other noise is another network: the store would rightly refuse one name for both
        self.fingerprint = hashlib.sha256(f"{name} {noise}".encode()).hexdigest()

    def preprocess(self, raw):
        rng = np.random.default_rng(abs(int(1e4 * raw[0])))
        return np.asarray(raw, dtype=np.float32) + self.noise * rng.normal(size=4)

    def __call__(self, batch):
        return np.asarray(batch, dtype=np.float32)


def test_backbones_by_logme_and_both_at_once():
    good, bad = Noisy("good", 0.0), Noisy("bad", 8.0)
    found = rank(rows(200, 0), backbone=[bad, good])
    assert found.backbones.names == ["good", "bad"] and found.sources is None
    assert "good is the best" in found.text()
    both = rank(rows(120, 0), source=[rows(150, 1), rows(150, 2, flip=True)], backbone=[bad, good])
    assert both.backbones.names[0] == "good" and both.sources is not None
    assert any("on the features of bad" in note for note in both.notes)


def test_backbones_are_judged_on_the_source_where_the_target_has_no_labels():
    found = rank(
        rows(80, 0)[0], source=rows(150, 1), backbone=[Noisy("good", 0.0), Noisy("bad", 8.0)]
    )
    assert found.backbones.names[0] == "good"
    assert "under 10 labels" in found.notes[0]


def test_two_backbones_of_one_name_stay_two():
    found = rank(rows(80, 0), backbone=[Noisy("same", 0.0), Noisy("same", 5.0)])
    assert sorted(found.backbones.names) == ["same", "same'"]


def test_gaps_of_sources_use_one_bandwidth():
    a, b = rows(50, 0)[0], rows(50, 1, shift=1)[0]
    assert ranking._mmd(a, b) > ranking._mmd(a, rows(50, 2)[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no data were given"),
        (["--target", "{t}"], "nothing to rank"),
        (["--target", "{t}", "--source", "{t}", "--label", "kind"], "nothing to rank"),
        (["--source", "{n}", "--source", "{f}", "--label", "kind"], "no target was given"),
        (
            ["--target", "{b}", "--source", "{n}", "--source", "{f}", "--label", "kind",
             "--measure", "leep"],
            "needs classes on at least 10 target rows",
        ),
        (
            ["--target", "{t}", "--source", "{n}", "--source", "{f}", "--label", "kind",
             "--measure", "zzz"],
            "no measure 'zzz'",
        ),
    ],
)  # fmt: skip
def test_refusals(files, words, said, capsys):
    paths = {"t": "target", "n": "near", "f": "far", "b": "bare"}
    given = [w.format(**{k: files / f"{v}.csv" for k, v in paths.items()}) for w in words]
    with pytest.raises(SystemExit) as stop:
        run(["rank", *given])
    assert stop.value.code == 2 and said in capsys.readouterr().err
