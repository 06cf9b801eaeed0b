"""`transfer(method=...)`: routes by hand beside the baselines, the guard, records that repeat."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus.adapt.base import Adapter
from isthmus.adapt.coral import CORAL
from isthmus.adapt.mlls import MLLS
from isthmus.errors import DataError, UsageError
from isthmus.transfer import transfer

QUICK = "nearest-mean"  # closed form: what is tested here is not the head
BASELINES = ["pooled", "source-only", "target-only"]


def blobs(n, *, shift=0.0, seed=0, spread=1.0, shares=None):
    """Three classes in 8 dimensions; `shift` and `spread` change the domain."""
    rng = np.random.default_rng(seed)
    names = np.array(["ant", "bee", "cat"], dtype=object)
    codes = np.arange(n) % 3 if shares is None else rng.choice(3, n, p=shares)
    X = (rng.normal(size=(n, 8)) + 4 * np.eye(8)[codes]) * spread + shift
    return X.astype("f4"), names[codes]


def far(n, seed):
    """A target on which a source model fails: a shift of the size of the class distances."""
    return blobs(n, shift=np.array([3.0, -3.0, 0, 0, 2, 0, 0, 1]), seed=seed)


def table(result):
    return {r["route"]: r for r in result.results["routes"]}


def test_without_methods_and_without_the_choice_nothing_changes():
    result = transfer(blobs(90), far(60, 1)[0], method="none")
    assert list(table(result)) == BASELINES
    assert not {"by_hand", "troubles"} & set(table(result)["source-only"])
    assert "method" not in result.results["settings"]


def test_one_method_without_target_labels_serves_by_hand():
    result = transfer(blobs(300), far(150, 1)[0], method="coral", test=far(90, 2))
    assert result.results["chosen"] == "coral" and list(table(result)) == [*BASELINES, "coral"]
    assert "chosen by hand" in result.verdict.sentence
    figures = result.results["proof"]["headline"]
    assert figures["coral"]["value"] > 0.95 > 0.8 > figures["source-only"]["value"]
    assert set(result.predictions["prediction"]) == {"ant", "bee", "cat"}
    assert result.results["settings"]["method"] == "coral"
    assert "coral" in result.text() and table(result)["coral"]["by_hand"] is True


def test_several_methods_without_target_labels_leave_source_only():
    result = transfer(blobs(150), far(90, 1)[0], method=["coral", "linear_monge"], test=far(60, 2))
    assert result.results["chosen"] == "source-only"
    assert "coral, linear-monge apart from it" in result.verdict.sentence
    assert "the best of many figures on one test set is too good" in result.text()
    scores = result.results["proof"]["headline"]
    assert {"coral", "linear-monge", "source-only"} <= set(scores)  # all are measured all the same


def test_without_test_labels_nothing_is_claimed_for_a_method():
    proof = transfer(blobs(90), far(60, 1)[0], method="coral").results["proof"]
    assert proof["kind"] == "none" and "adapts to the target" in proof["protocol"]
    assert transfer(blobs(90), far(60, 1)[0]).results["proof"]["kind"] == "cv-source"


def test_with_target_labels_the_evidence_decides():
    noise = np.random.default_rng(3).normal(size=(400, 8)).astype("f4") * 1.5
    Xt, yt = far(400, 1)
    result = transfer(blobs(600), (Xt + noise, yt), shots=20, method="coral", head=QUICK)
    entry = table(result)["coral"]
    assert entry["status"] == "scored" and entry["score"]["value"] > 0.5
    served = result.results["chosen"]
    assert (served == "coral") == (entry["over_chosen"]["low"] > 0)
    assert "coral" in result.verdict.sentence


def test_a_method_that_hurts_does_not_serve_though_it_was_named():
    source = blobs(200)
    target = blobs(200, seed=1, shares=(0.9, 0.05, 0.05))  # equalising the means mixes classes up
    result = transfer(source, target, shots=5, method="coral", head=QUICK)
    assert result.results["chosen"] != "coral"
    assert "not proven better" in result.verdict.sentence


def test_too_few_labels_to_compare_leave_the_choice_to_the_hand():
    result = transfer(blobs(120), far(90, 1), shots=1, method="coral")
    assert result.results["chosen"] == "coral" and "chosen by hand" in result.verdict.sentence
    assert result.verdict.evidence["instead of"] == "pooled"


def test_all_offers_every_method_that_applies():
    result = transfer(
        blobs(60), blobs(45, seed=1)[0], method=["all"], head=QUICK, test=blobs(30, seed=2)
    )
    names = set(table(result))
    assert {"coral", "kmm", "jdot", "bbse", "emd-transport"} <= names
    assert "jdot-regressor" not in names and "balanced-weights" not in names
    notes = "\n".join(result.results["notes"])
    assert "jdot-regressor is left out: it is for regression" in notes
    assert result.results["chosen"] == "source-only"
    assert all(
        table(result)[n]["status"] in ("unscored", "failed") for n in names - {*BASELINES[::2]}
    )
    assert len(result.results["proof"]["headline"]) > 15


def test_objects_with_their_own_parameters(tmp_path):
    result = transfer(blobs(150), far(90, 1)[0], method=CORAL(reg=0.01), out=tmp_path / "m")
    assert table(result)["coral"]["method"] == "CORAL(reg=0.01)"
    other = transfer(blobs(150), far(90, 1)[0], method=CORAL(reg=100.0))
    X = far(40, 5)[0]
    assert np.abs(result.model.predict_proba(X) - other.model.predict_proba(X)).max() > 1e-3


def test_a_prior_correction_is_kept_in_the_saved_model(tmp_path):
    source, target = blobs(300), blobs(200, seed=1, shares=(0.8, 0.15, 0.05))
    wide = source[0] + np.random.default_rng(0).normal(size=(300, 8)).astype("f4") * 2
    noisy = target[0] + np.random.default_rng(1).normal(size=(200, 8)).astype("f4") * 2
    result = transfer(
        (wide, source[1]), (noisy, target[1]), method=MLLS(use="correction"), out=tmp_path / "m"
    )
    scores = result.results["proof"]["headline"]
    assert scores["mlls"]["value"] > scores["source-only"]["value"]
    loaded = isthmus.load(tmp_path / "m")
    np.testing.assert_array_equal(
        loaded.model.predict_proba(noisy), result.model.predict_proba(noisy)
    )
    assert (result.predictions["prediction"] == "ant").mean() > 0.7
    assert "target_prior" in table(result)["mlls"]["info"]


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_methods_that_need_no_classes_serve_other_tasks(task, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 5)).astype("f4")
    y = X @ np.arange(5.0) if task == "regression" else X[:, :2] > 0
    Xt = X[:80] * 2 + 1
    kind = {"task": task} if task == "regression" else {}
    result = transfer((X, y), Xt, method="coral", out=tmp_path / "m", test=(Xt, y[:80]), **kind)
    assert result.results["task"] == task and result.results["chosen"] == "coral"
    scores = result.results["proof"]["headline"]
    better = np.sign(scores["coral"]["value"] - scores["source-only"]["value"])
    assert better == (-1 if task == "regression" else 1)
    assert isthmus.load(tmp_path / "m").verify()["ok"]


def test_refusals_come_before_the_work(tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(
        sys.modules["isthmus.transfer"], "load_backbone", lambda *a, **k: pytest.fail("too late")
    )
    pair = blobs(60), blobs(40, seed=1)[0]
    with pytest.raises(UsageError, match="Did you mean coral"):
        transfer("no such file", "nor this", method="corall")  # before anything is read
    for name, words in (
        ("balanced-weights", "labelled target rows"),
        ("gromov-wasserstein", "different features"),
        ("jdot-regressor", "for regression"),
    ):
        with pytest.raises(UsageError, match=words):
            transfer(*pair, method=name, out=tmp_path / "m")
    with pytest.raises(UsageError, match="no labelled source rows"):
        transfer(target=blobs(60), method="coral")
    assert not (tmp_path / "m").exists()


class Broken(Adapter):
    """Fails as linear algebra does."""

    def adapt(self, Xs, ys, Xt):
        raise np.linalg.LinAlgError("SVD did not converge")


@pytest.fixture
def broken(monkeypatch):
    """KMM breaks down; its name stays."""
    from isthmus.adapt.kmm import KMM

    monkeypatch.setattr(KMM, "adapt", Broken.adapt)


def test_a_method_that_fails_alone_is_the_error_and_among_others_a_line(broken):
    pair = blobs(60), blobs(45, seed=1)[0]
    with pytest.raises(DataError, match=r"KMM.*SVD did not converge"):
        transfer(*pair, method="kmm")
    result = transfer(*pair, method=["kmm", "coral"])
    assert table(result)["kmm"]["status"] == "failed"
    assert "SVD" in table(result)["kmm"]["reason"]
    assert result.results["chosen"] == "source-only"
    with pytest.raises(DataError, match="SVD"):
        transfer(blobs(60), blobs(45, seed=1), shots=5, method="kmm", head=QUICK)


def test_trouble_is_printed_with_its_remedy():
    result = transfer(blobs(120), blobs(60, shift=6, seed=1)[0], method="gaussian-ratio")
    troubles = table(result)["gaussian-ratio"]["troubles"]
    assert troubles and troubles[0]["code"] == "low-overlap"
    assert f"note: gaussian-ratio: {troubles[0]['reason']}" in result.text()


def test_permuting_sealed_labels_changes_nothing_before_the_proof():
    X, y = far(120, 1)
    outcomes = []
    for labels in (y, np.random.default_rng(0).permutation(y)):
        outcomes.append(
            transfer(blobs(150), (X, labels), method=["coral", "jdot", "mlls"], head=QUICK)
        )
    one, two = outcomes
    assert one.verdict == two.verdict and one.results["routes"] == two.results["routes"]
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    assert one.results["proof"]["headline"] != two.results["proof"]["headline"]


def test_the_same_call_leaves_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        transfer(
            blobs(120),
            far(90, 1),
            shots=3,
            method=["coral", "jdot", "kmm"],
            head=QUICK,
            out=tmp_path / name,
        )
    for file in ("results.json", "predictions.csv", "manifest.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    json.loads((tmp_path / "a" / "results.json").read_text())


def test_labelled_rows_of_their_own_join_the_target_rows():
    """A separate set of labelled target rows is numbered like the target: rows are not mixed up."""
    Xl, yl = far(30, 7)
    result = transfer(
        blobs(150),
        far(90, 1)[0],
        target_labels=(Xl, yl),
        method="jdot",
        head=QUICK,
        test=far(60, 2),
    )
    entry = table(result)["jdot"]
    assert entry["status"] == "scored" and entry["score"]["value"] > 0.8
    assert result.results["proof"]["headline"]["jdot"]["value"] > 0.85


def test_a_time_budget_leaves_methods_out_and_says_so(monkeypatch):
    from isthmus.run import standings

    monkeypatch.setattr(standings, "over", lambda deadline: deadline is not None)
    pair = blobs(60), blobs(45, seed=1)[0]
    result = transfer(*pair, method=["coral", "kmm"], time=60, head=QUICK)
    assert {table(result)[n]["status"] for n in ("coral", "kmm")} == {"not reached"}
    assert result.results["chosen"] == "source-only"
    assert transfer(*pair, method="coral", time=60, head=QUICK).results["chosen"] == "coral"


def test_by_default_the_choice_is_automatic():
    for method in (None, "auto"):
        result = transfer(blobs(200), far(150, 1)[0], method=method)
        assert list(table(result)) == [*BASELINES, "blend"]
        assert result.results["choice"]["candidates"][0]["candidate"] == "source-only"
        assert result.results["chosen"] in ("blend", "source-only")
        assert ("Adapt:" in result.verdict.sentence) == (result.results["chosen"] == "blend")


def test_regression_has_no_automatic_choice_and_says_so():
    X, _ = blobs(120)
    result = transfer((X, X[:, 0] * 2.0), far(60, 1)[0], task="regression")
    assert list(table(result)) == BASELINES
    assert any("No automatic choice" in note for note in result.results["notes"])


@pytest.mark.parametrize("method, serves", [("none", "source-only"), ("coral", "coral")])
def test_labels_of_a_single_class_are_not_learned_from(method, serves):
    Xt, yt = blobs(90, seed=1)
    known = {f"array[{i}]": "ant" for i in np.flatnonzero(yt == "ant")[:20]}
    options = {"head": QUICK, "method": method, "test": blobs(60, seed=2)}
    result = transfer(blobs(120), Xt, target_labels=known, **options)
    assert result.results["chosen"] == serves
    assert "are 'ant'" in table(result)["target-only"]["reason"]
    assert "are 'ant'" in table(result)["pooled"]["reason"]
    assert result.results["proof"]["headline"][serves]["value"] > 0.9
