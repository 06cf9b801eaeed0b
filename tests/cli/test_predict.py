from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from isthmus.backbone import embed, load_backbone
from isthmus.cli.main import run
from isthmus.data import read
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.model import FeatureModel
from isthmus.serve import load, save_model

# The same small model serves the tests of `predict`, `evaluate` and `verify`.


def make_model(folder):
    """A model of five feature columns that were read from a CSV file."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)).astype(np.float32)
    y = np.where(X[:, 0] > 0, "right", "left")
    lines = ["a,b,c,d,e,label"]
    lines += [",".join([*map(str, row), name]) for row, name in zip(X, y, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    np.savez(folder / "new.npz", X=X)
    samples = read(folder / "data.csv", modality="features")
    backbone = load_backbone("identity", modality="features").fixed(5)
    got = embed(backbone, samples)
    model = FeatureModel(FeatureProcessor(), "ridge", classes=samples.classes)
    model.fit(got.features, samples.labels)
    save_model(
        folder / "model",
        model=model,
        backbone=backbone,
        samples_like=samples,
        task="classification",
        classes=samples.classes,
        examples=samples,
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("predict"))


def call(capsys, *args):
    """(exit code, standard output, standard error)"""
    with pytest.raises(SystemExit) as done:
        run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return done.value.code or 0, out, err


def test_csv_on_standard_output(made, capsys):
    code, out, _err = call(capsys, "predict", made / "model", made / "data.csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["id", "prediction", "confidence", "p(left)", "p(right)", "error"]
    assert len(rows) == 60 and rows[0]["id"] == "data.csv:2"
    expected = load(made / "model").predict(made / "data.csv")
    assert [row["prediction"] for row in rows] == list(expected["prediction"])
    found = np.array([float(row["p(left)"]) for row in rows])
    assert np.allclose(found, expected["p(left)"], atol=1e-8)


def test_jsonl_json_and_text(made, capsys):
    for form in ("jsonl", "json", "text"):
        code, out, _ = call(
            capsys, "predict", made / "model", made / "new.npz", "--format", form, "--no-cache"
        )
        assert code == 0
        if form == "jsonl":
            lines = [json.loads(line) for line in out.splitlines()]
            assert len(lines) == 60
            assert set(lines[0]["probabilities"]) == {"left", "right"}
        elif form == "json":
            whole = json.loads(out)
            assert whole["rows"] == 60 and whole["bad"] == 0
            assert whole["predictions"] == lines
        else:
            assert "... and 40 more" in out


def test_the_answer_goes_into_a_file(made, capsys, tmp_path):
    for name, first in (("a.csv", "id,prediction"), ("deep/a.jsonl", '{"id": ')):
        code, out, err = call(
            capsys, "predict", made / "model", made / "data.csv", "--out", tmp_path / name
        )
        assert code == 0 and out == "" and "60 of 60 rows predicted" in err
        assert (tmp_path / name).read_text().startswith(first)
    code, _, err = call(
        capsys, "predict", made / "model", made / "data.csv", "--out", tmp_path / "a.csv" / "b"
    )
    assert code == 2 and "cannot be written" in err


def test_probabilities_can_be_left_out(made, capsys):
    _, out, _ = call(capsys, "predict", made / "model", made / "data.csv", "--no-proba")
    assert out.splitlines()[0] == "id,prediction,confidence,error"


def test_bad_rows_are_listed_and_others_go_on(made, capsys, tmp_path):
    lines = (made / "data.csv").read_text().splitlines()[:4]
    lines[2] = "1,2,nan,4,inf,left"
    (tmp_path / "part.csv").write_text("\n".join(lines) + "\n")
    args = ("predict", made / "model", tmp_path / "part.csv")
    code, out, err = call(capsys, *args)
    rows = list(csv.DictReader(io.StringIO(out)))
    bad = [row for row in rows if row["error"]]
    assert code == 0 and len(rows) == 3 and len(bad) == 1
    assert bad[0]["id"] == "part.csv:3" and bad[0]["prediction"] == ""
    assert "1 could not be" in err
    code, out, _ = call(capsys, *args, "--max-bad", "0.1")
    assert code == 1 and out == ""


def test_several_files_at_once(made, capsys, tmp_path):
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text((made / "data.csv").read_text())
    code, out, _ = call(
        capsys, "predict", made / "model", tmp_path / "one.csv", tmp_path / "two.csv"
    )
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and len(rows) == 120
    assert len({row["id"] for row in rows}) == 120


def test_refusals_are_short_and_have_codes(made, capsys, tmp_path):
    code, out, err = call(capsys, "predict", tmp_path, made / "data.csv")
    assert code == 1 and out == "" and "not a saved model" in err and "Traceback" not in err
    code, out, err = call(
        capsys, "predict", made / "model", tmp_path / "gone.csv", "--format", "json"
    )
    assert code == 1 and json.loads(out)["what"] == "no such file or folder"
    assert call(capsys, "predict", made / "model")[0] == 2
    (tmp_path / "narrow.csv").write_text("a,b,c\n1,2,3\n")
    code, _, err = call(capsys, "predict", made / "model", tmp_path / "narrow.csv")
    assert code in (1, 2) and err


def test_options_that_mean_nothing_here_do_not_exist(made, capsys):
    _, out, _ = call(capsys, "predict", "--help")
    assert "--label" not in out and "--text" in out and "apostrophe" in out
    assert "bad rows are listed" in " ".join(out.split())
