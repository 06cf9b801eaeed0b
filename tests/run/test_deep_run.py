"""`transfer(method="dann")`: a network as a route, its saved form, its script, its plan."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import isthmus
from isthmus.errors import UsageError
from isthmus.fit.aligned import AlignedMLP
from isthmus.run.plan import plan
from isthmus.serve.eject import eject
from isthmus.transfer import transfer

QUICK = "nearest-mean"  # closed form: the head is not what is tested here


def blobs(n, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    X = rng.normal(size=(n, 5)) + 4 * np.eye(5)[codes] + shift
    return X.astype("f4"), np.array(["ant", "bee", "cat"], dtype=object)[codes]


def table(result):
    return {entry["route"]: entry for entry in result.results["routes"]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep") / "run"
    test = blobs(60, 1.5, 2)
    method = AlignedMLP("shot", steps=60, random_state=1)
    result = transfer(
        blobs(150), blobs(90, 1.5, 1)[0], method=method, test=test, head=QUICK, out=folder
    )
    return result, folder, test[0]


def test_it_serves_by_hand_and_is_measured(saved):
    result, _, _ = saved
    entry = table(result)["shot"]
    assert result.results["chosen"] == "shot" and "chosen by hand" in result.verdict.sentence
    assert entry["by_hand"] and "AlignedMLP(method='shot'" in entry["method"]
    assert entry["info"]["steps"] == 120  # a source-free method trains its source first
    assert result.results["proof"]["headline"]["shot"]["value"] > 0.8


def test_what_is_saved_answers_the_same_without_torch(saved, tmp_path):
    result, folder, X = saved
    assert isthmus.load(folder).verify()["ok"]
    expected = result.model.predict_proba(X)
    np.testing.assert_array_equal(isthmus.load(folder).model.predict_proba(X), expected)
    rows, answer = tmp_path / "rows.npy", tmp_path / "answer.npy"
    np.save(rows, X)
    code = (
        "import sys, numpy as np, isthmus; "
        f"p = isthmus.load({str(folder)!r}).model.predict_proba(np.load({str(rows)!r})); "
        f"assert 'torch' not in sys.modules; np.save({str(answer)!r}, p)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(answer), expected, atol=1e-12)


def test_the_script_computes_the_network_in_numpy(saved, tmp_path):
    result, folder, X = saved
    script, *_ = eject(folder, tmp_path / "predict.py")
    text = script.read_text()
    assert "def relu" in text and "torch" not in text and "import isthmus" not in text
    np.savez(tmp_path / "rows.npz", X=X)
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(tmp_path / "rows.npz")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    found = np.array([[float(v) for v in line.split(",")[3:-1]] for line in lines[1:]])
    np.testing.assert_allclose(found, result.model.predict_proba(X), atol=1e-5)


def test_target_labels_score_it_like_the_others():
    method = AlignedMLP("mcc", steps=8)
    result = transfer(blobs(120), blobs(90, 1.5, 1), shots=3, method=method, head=QUICK)
    entry = table(result)["mcc"]
    assert entry["status"] == "scored" and entry["over_chosen"] is not None


def test_what_cannot_be_trained_on_features_is_refused():
    pair = blobs(60), blobs(45, 1.0, 1)[0]
    with pytest.raises(UsageError, match="two views"):
        transfer(*pair, method="fixmatch")
    X = pair[0][0]
    with pytest.raises(UsageError, match="for classification"):
        transfer((X, X[:, 0] * 2.0), pair[1], task="regression", method="dann")


def test_a_plan_says_what_the_training_costs():
    found = plan(blobs(60), blobs(45, 1.0, 1)[0], method=AlignedMLP("mcc", steps=40), head=QUICK)
    (step,) = [s for s in found.about["steps"] if s["step"] == "route: mcc"]
    assert "for 40 steps of training" in step["how"] and step["seconds"] > 0


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"target": blobs(60)}, "there is no automatic choice (there are no labelled source rows"),
        ({"source": blobs(90), "method": "none"}, "the automatic choice is turned off by --method"),
        ({"source": blobs(90), "method": "coral"}, "the automatic choice is turned off by"),
        ({"source": blobs(90), "time": 1e-6}, "the time budget ended before the first of them"),
        (
            {"source": (blobs(90)[0], blobs(90)[0][:, 0] * 2.0), "task": "regression"},
            "there is no automatic choice (it chooses among classifiers",
        ),
    ],
)
def test_networks_that_were_asked_for_in_vain(given, why):
    """Said in the notes and in print; a run that nobody asked says nothing."""
    call = {"target": blobs(60, 1.5, 1)[0], "head": None if "task" in given else QUICK, **given}
    result = transfer(**call, deep=True)
    (note,) = (n for n in result.results["notes"] if "--deep" in n)
    assert note.startswith(f"Nothing of --deep was tried: {why}") and note.endswith(".")
    printed = [line for line in result.text().splitlines() if line.startswith("Networks   ")]
    assert len(printed) == 1 and why in printed[0]
    quiet = transfer(**call)
    assert not [n for n in quiet.results["notes"] if "--deep" in n]
    assert "Nothing of --deep" not in quiet.text()


def test_networks_that_were_tried_leave_no_such_note():
    result = transfer(blobs(60), blobs(45, 1.5, 1)[0], deep=True, head=QUICK)
    assert result.results["choice"]["networks"]["tried"]
    assert not [n for n in result.results["notes"] if "--deep" in n]


def test_the_automatic_choice_says_why_networks_were_not_tried():
    result = transfer(blobs(90), blobs(60, 1.5, 1)[0])
    assert result.results["choice"]["networks"]["tried"] is False
    assert "Networks   not tried: there is no time budget" in result.text()
    json.dumps(result.results["choice"], allow_nan=False)
