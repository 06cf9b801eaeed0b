"""The preflight as a run and a person call it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import isthmus
from isthmus.backbone import load_backbone
from isthmus.data.checks import Finding
from isthmus.errors import DataError
from isthmus.run import preflight as module
from isthmus.run.case import pose
from isthmus.run.extract import extract
from isthmus.run.postcheck import from_results, postcheck
from isthmus.run.preflight import check, preflight

CENTRES = np.random.default_rng(99).normal(0, 4, (3, 10))


def blobs(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = (CENTRES[y] + rng.normal(size=(n, 10))).astype(np.float32)
    return X, np.array([f"c{k}" for k in y])


def test_two_calls_find_what_one_finds():
    case = pose(blobs(), blobs(seed=1))
    backbone = load_backbone(None, modality="features")
    early = preflight(case, backbone)
    features = extract(case, backbone, store=None, max_bad=0.01, seed=0)
    late = preflight(case, backbone, features, known=early)
    assert late == preflight(case, backbone, features)
    assert not [f for f in late if f.severity != "info"], late
    assert case.sealed.openings == 0, "a run's preflight must not look at test labels"


def test_consequences_are_left_out():
    found = [Finding("ISX013", "error", "x"), Finding("ISX025", "error", "y")]
    assert [f.code for f in module._causes(found)] == ["ISX013"]


def test_clean_data_are_fine():
    found = check(blobs(), blobs(seed=1))
    assert found.ok and set(found.as_dict()) == {"ok", "findings", "suspects"}


def test_a_refusal_becomes_a_finding(tmp_path):
    pictures = [np.full((20, 20, 3), 200.5, np.float32)] * 6
    others = [p + 10 for p in pictures]
    found = check((pictures, ["a", "b"] * 3), (others, ["a", "b"] * 3), modality="image")
    assert not found.ok and {"ISX005"} == {f.code for f in found.findings if f.severity == "error"}


def test_wrong_calls_are_still_refused():
    with pytest.raises(DataError, match="no such file"):
        check("/no/such/place", "/nor/this")


def test_files_that_check_writes(tmp_path):
    (X, y), target = blobs(), blobs(seed=1)
    y = y.copy()
    y[0] = "c1"
    found = check((X, y), target)
    found.save(tmp_path)
    saved = json.loads((tmp_path / "findings.json").read_text())
    assert saved["suspects"]["label error"] >= 1
    assert (tmp_path / "suspects.csv").read_text().startswith("kind,part,id,label,score,other")


def test_command(tmp_path):
    from isthmus.cli.check import command

    for name, (X, y) in (("a", blobs()), ("b", blobs(seed=1)), ("c", blobs())):
        np.savez(tmp_path / f"{name}.npz", X=X, y=y)
    run = CliRunner()
    fine = run.invoke(command, [f"{tmp_path}/a.npz", f"{tmp_path}/b.npz", "--format", "json"])
    assert fine.exit_code == 0, fine.output
    assert json.loads(fine.output)["ok"] is True
    same = [f"{tmp_path}/a.npz", f"{tmp_path}/b.npz", "--test", f"{tmp_path}/c.npz"]
    bad = run.invoke(command, [*same, "--format", "json"])
    assert bad.exit_code == 1
    assert "ISX001" in {f["code"] for f in json.loads(bad.output)["findings"]}
    words = run.invoke(command, same)
    assert words.exit_code == 1 and "ERROR   ISX001" in words.output


def results(**proof):
    interval = {"value": -0.1, "low": -0.2, "high": -0.05}
    plain = {
        "kind": "sealed", "openings": 1, "rows": 200, "gains": {}, "metrics": {"support": {}},
    }  # fmt: skip
    return {
        "task": "classification",
        "chosen": "source-only",
        "data": {},
        "proof": plain | proof,
        "_": interval,
    }


@pytest.mark.parametrize(
    ("code", "proof"),
    [
        ("ISX022", {"openings": 3}),
        ("ISX023", {"gains": {"majority": {"value": -0.1, "low": -0.2, "high": -0.05}}}),
        ("ISX024", {"metrics": {"support": {"a": 95, "b": 5}}}),
        ("ISX030", {"rows": 12}),
        (
            "ISX014",
            {
                "metrics": {
                    "support": {"a": 30, "b": 30},
                    "confusion": {"classes": ["a", "b"], "matrix": [[2, 28], [29, 1]]},
                }
            },
        ),
    ],
)
def test_postcheck(code, proof):
    assert from_results(results()) == []
    assert [f.code for f in from_results(results(**proof))] == [code]


def test_few_rows_are_said_once_and_in_plain_words():
    (X, y), (Z, z) = blobs(), blobs(seed=1)
    found = isthmus.transfer((X, y), (Z[::4], z[::4]))
    assert [f["code"] for f in found.results["findings"]].count("ISX030") == 1
    few = isthmus.transfer(target=(X[:61], np.array([*y[:60], "c9"])))
    (said,) = (f for f in few.results["findings"] if f["code"] == "ISX030")
    assert said["title"] == "the class 'c9' has 1 labelled row"
    assert "np." not in few.text()


@pytest.mark.parametrize("drawn", [{}, {"shots": 3}, {"shots": "all"}])
def test_every_row_is_counted_once(drawn, tmp_path):
    """Files of one name in two folders; the test rows are target rows, so are the labelled ones."""
    words = "a good film indeed, number"
    for name in ("a", "b"):
        texts = [f"{words} {name} {i}" for i in range(40)]
        texts[3], texts[17], texts[25], texts[30] = "", "  ", "\u200b", "\u200b"
        (tmp_path / name).mkdir()
        frame = pd.DataFrame({"text": texts, "label": ["yes", "no"] * 20})
        frame.to_csv(tmp_path / name / "texts.csv", index=False)
    paths = [tmp_path / name / "texts.csv" for name in ("a", "b")]
    case = pose(*paths, options={"max_bad": 1.0}, **drawn)
    backbone = load_backbone(None, modality="text")
    early = preflight(case, backbone, max_bad=1.0)
    features = extract(case, backbone, store=None, max_bad=1.0, seed=0)
    late = preflight(case, backbone, features, known=early, max_bad=1.0)
    aside = {f.title.partition(": ")[2]: f.figures for f in late if f.code == "ISX010"}
    assert aside == {
        "the text is empty": {"bad": 4, "seen": 80},
        "the text holds no readable character (only control or invisible characters)": {
            "bad": 4,
            "seen": 80,
        },
    }
    assert (len(features.problems), features.seen) == (8, 80)


def test_two_domains_of_one_file_set_the_same_rows_aside(tmp_path):
    frame = pd.DataFrame(
        {
            "text": [f"a good film indeed, number {i}" if i % 9 else "" for i in range(60)],
            "label": ["yes", "no"] * 30,
            "domain": ["here"] * 30 + ["there"] * 30,
        }
    )
    frame.to_csv(tmp_path / "texts.csv", index=False)
    case = pose(
        tmp_path / "texts.csv",
        source_domain="here",
        target_domain="there",
        options={"max_bad": 1.0},
    )
    (found,) = (f for f in preflight(case, max_bad=1.0) if f.code == "ISX010")
    assert found.figures == {"bad": 7, "seen": 60}


def test_postcheck_of_a_real_run():
    found = isthmus.transfer(blobs(), blobs(seed=1))
    assert [f for f in postcheck(found) if f.severity == "error"] == []
