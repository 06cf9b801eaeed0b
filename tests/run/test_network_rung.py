"""`transfer(network=True)`: the network itself as the last rung: what it reads, when it serves."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

import isthmus
from isthmus.errors import UsageError
from isthmus.run import network_rung
from isthmus.run.network_rung import compared
from isthmus.run.plan import plan
from isthmus.select.evidence import Evidence
from isthmus.serve.eject import eject
from isthmus.transfer import transfer


@pytest.fixture(scope="module")
def encoder(text_encoder, tmp_path_factory):
    return shutil.copytree(text_encoder, tmp_path_factory.mktemp("net") / "encoder")


@pytest.fixture(scope="module")
def tables(review_tables):
    return [pd.read_csv(path, dtype={"label": str}) for path in review_tables]


def run(encoder, tables, **more):
    source, target = tables
    options = {"backbone": f"hf:{encoder}", "label": "label", "network": True} | more
    return transfer(source, options.pop("rows", target), **options)


@pytest.fixture(scope="module")
def served(encoder, tables, tmp_path_factory):
    """A run for whose network the comparison is decided: result, folder, figures, rows."""
    made, rows = [], []
    trained = network_rung._Trainer.__init__

    def decided(*args, **options):
        made.append(compared(*args, **options))
        return True, *made[-1][1:]

    def watched(self, *args):
        trained(self, *args)
        rows.append(self.rows)

    out = tmp_path_factory.mktemp("served") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_rung, "compared", decided)
        patch.setattr(network_rung._Trainer, "__init__", watched)
        result = run(encoder, tables, out=out)
        source, target = tables
        turned = target.assign(label=["1" if x == "0" else "0" for x in target["label"]])
        other = run(encoder, (source, turned))
    return result, out, made, rows, other


def test_a_network_that_serves_is_saved_measured_and_beside_what_was_there(encoder, tables, served):
    result, out, made, _, _ = served
    told = json.loads((out / "results.json").read_text())
    assert told["network"]["tried"] and told["network"]["taken"]
    assert "tried (asked for; 3 epochs of lora with mcc)" in result.text()
    assert set(made[0][2]) == {"expected_before", "expected_after"}
    assert told["backbone"]["name"].endswith("(fine-tuned)")
    shown = told["proof"]["headline"]
    assert network_rung.BEFORE in shown  # what would have served, on the same rows
    plain = run(encoder, tables, network=False)
    assert plain.results["network"] is None
    before = plain.results["proof"]["headline"][plain.results["chosen"]]
    assert shown[network_rung.BEFORE]["value"] == before["value"]
    model = isthmus.load(out)
    assert model.verify()["ok"]
    frame = model.predict(tables[1][["text"]], text="text")
    assert frame["prediction"].tolist() == [str(p) for p in result.predictions["prediction"]]
    np.testing.assert_allclose(frame["confidence"], result.predictions["confidence"], atol=1e-6)


def test_a_network_that_serves_is_ejected(served, tables, tmp_path):
    _, out, *_ = served
    rows = tmp_path / "new.csv"
    tables[1][["text"]].to_csv(rows, index=False)
    script, *_ = eject(out)
    assert "import isthmus" not in script.read_text()
    done = subprocess.run(
        [sys.executable, "-I", script, rows], capture_output=True, text=True, check=True
    )
    answer = pd.read_csv(io.StringIO(done.stdout), dtype={"prediction": str})
    frame = isthmus.load(out).predict(rows)
    assert answer["prediction"].tolist() == frame["prediction"].tolist()
    np.testing.assert_allclose(answer["confidence"], frame["confidence"], atol=1e-5)


def test_no_target_label_reaches_the_network(served):
    """With other labels the same rows are trained on, and the answers are the same."""
    result, _, made, rows, other = served
    for one in rows:
        assert set(one.y[one.sample_domain < 0]) == {""} and not one.target_labeled.any()
        np.testing.assert_array_equal(one.X, rows[0].X)
    assert made[0][2] == made[1][2]
    assert result.predictions.equals(other.predictions)


def test_labelled_target_rows_judge_and_do_not_train(encoder, tables, monkeypatch):
    rows = []
    trained = network_rung._Trainer.__init__

    def watched(self, *args):
        trained(self, *args)
        rows.append(self.rows)

    monkeypatch.setattr(network_rung._Trainer, "__init__", watched)
    found = run(encoder, tables, shots=8).results["network"]
    assert not rows[0].target_labeled.any()
    assert set(found["figures"]) == {"difference", "low", "high"}
    assert found["taken"] == (found["figures"]["low"] > 0)
    assert "on the labelled target rows" in found["why"]


def test_a_paired_difference_that_may_be_nothing_is_declined(monkeypatch):
    class One:
        def __init__(self, scores):
            self.evidence = (Evidence("pooled", "scored", fold_scores=np.array(scores)),)
            self.verdict = type("V", (), {"decision": "pooled"})
            self.blend = None

    flat, better, mixed = [0.5] * 5, [0.7, 0.71, 0.69, 0.7, 0.72], [0.9, 0.3, 0.6, 0.5, 0.4]
    assert compared(None, One(flat), None, One(better), None)[0]
    taken, why, figures = compared(None, One(flat), None, One(mixed), None)
    assert not taken and figures["low"] < 0 < figures["high"] and "as they were" in why
    assert not compared(None, One(better), None, One(flat), None)[0]


def test_it_is_refused_with_reasons_or_left_out_in_words(encoder, tables, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.array(["a", "b"] * 30, dtype=object)
    with pytest.raises(UsageError, match="network") as told:
        transfer((X, y), X + 1, network=True)
    assert "no pretrained network" in str(told.value.why)
    assert transfer((X, y), X + 1).results["network"] is None  # nobody asked, no time budget
    found = transfer((X, y), X + 1, time=100).results["network"]
    assert not found["tried"] and "no pretrained network" in found["why"]
    with pytest.raises(UsageError, match="classes may be missing"):
        run(encoder, tables, label_set="partial")
    with pytest.raises(UsageError) as told:
        run(encoder, tables, method="none")
    assert "automatic choice is off" in str(told.value.why)


def test_with_a_time_budget_few_rows_or_little_time_keep_it_out(encoder, tables):
    found = run(encoder, tables, network=None, time=300).results["network"]
    assert not found["tried"] and "networks need 200 a side" in found["why"]
    found = run(encoder, tables, network=None, time=20).results["network"]
    assert not found["tried"] and "s are left" in found["why"]


def test_the_plan_has_its_line(encoder, tables):
    source, target = tables
    made = plan(source, target, backbone=f"hf:{encoder}", label="label", network=True)
    steps = {step["step"]: step for step in made.about["steps"]}
    assert steps["route: the network itself"]["rows"] == len(source) + len(target)
    assert made.options["network"] is True
