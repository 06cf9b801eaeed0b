"""The main job on arrays: who trains, what is sealed, what repeats, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus.errors import DataError, UsageError
from isthmus.transfer import transfer


def blobs(n: int, *, shift: float = 0.0, seed: int = 0, flip: bool = False):
    """Three classes in 8 dimensions; `shift` moves them, `flip` turns the names around."""
    rng = np.random.default_rng(seed)
    names = np.array(["ant", "bee", "cat"], dtype=object)
    codes = np.arange(n) % 3
    centres = np.zeros((3, 8))
    centres[[0, 1, 2], [0, 1, 2]] = 4
    X = rng.normal(size=(n, 8)) + centres[codes] + shift
    return X.astype("f4"), names[(codes + flip) % 3]


def test_source_and_unlabelled_target():
    result = transfer(blobs(300), blobs(150, seed=1)[0], test=blobs(90, seed=2))
    assert result.results["chosen"] in ("source-only", "blend")
    assert {r["route"]: r["status"] for r in result.results["routes"]} == {
        "pooled": "refused",
        "source-only": "unscored",
        "target-only": "refused",
        "blend": "unscored",
    }
    proof = result.results["proof"]
    assert proof["kind"] == "sealed" and proof["openings"] == 1 and proof["rows"] == 90
    assert proof["metrics"]["accuracy"]["value"] > 0.9
    low, high = (proof["metrics"]["accuracy"][k] for k in ("low", "high"))
    assert low < proof["metrics"]["accuracy"]["value"] <= high
    assert set(proof["headline"]) == {"source-only", "blend", "majority", "no transfer"}
    assert proof["headline"]["majority"]["value"] == pytest.approx(1 / 3, abs=0.01)
    assert len(result.predictions) == 150


def test_a_source_with_the_wrong_names_is_declined():
    result = transfer(blobs(300, flip=True), blobs(200, seed=1), shots=10)
    assert result.verdict.decision == "target-only"
    assert "declined" in result.verdict.sentence
    scores = result.results["proof"]["headline"]
    assert scores["target-only"]["value"] > 0.9 > scores["source-only"]["value"]


def test_a_good_source_is_used_where_two_labels_a_class_are_few():
    X, y = blobs(200, seed=1)
    noise = np.random.default_rng(0).normal(size=X.shape).astype("f4") * 2.5
    source = blobs(600)[0] + np.random.default_rng(5).normal(size=(600, 8)).astype("f4") * 2.5
    result = transfer((source, blobs(600)[1]), (X + noise, y), shots=4)
    scores = result.results["proof"]["headline"]
    assert result.verdict.decision in ("pooled", "source-only", "blend")
    assert scores[result.verdict.decision]["value"] > scores["target-only"]["value"]


def test_a_small_labelled_target_alone():
    result = transfer(target=blobs(60))
    assert result.results["chosen"] == "target-only"
    assert result.results["proof"]["kind"] == "cv-target"
    assert "optimistic" in result.results["proof"]["protocol"]


def test_without_any_target_label_the_figure_is_said_to_be_of_the_source():
    result = transfer(blobs(120), blobs(60, seed=1)[0])
    assert result.results["proof"]["kind"] == "cv-source"
    assert "says nothing about the gap" in result.results["proof"]["protocol"]


def test_with_one_label_a_class_the_blend_serves_by_rule():
    result = transfer(blobs(120), blobs(60, seed=1), shots=1)
    assert result.verdict.decision == "blend" and "by rule" in result.verdict.sentence
    candidates = result.results["choice"]["candidates"]
    weights = {line["candidate"]: line["weight"] for line in candidates}  # no label weighs
    assert weights["pooled"] == pytest.approx(5 * weights["source-only"], abs=1e-3)
    assert 0 < weights["coral"] < weights["source-only"]  # equal shares, but the table fears one
    assert all(not line["evidence"] for line in candidates)
    assert "(weights set beforehand: too few labels to hold out)" in str(result)


def test_permuting_sealed_labels_changes_neither_choice_nor_model_nor_predictions():
    X, y = blobs(200, seed=1)
    outcomes = []
    for seed in (None, 1, 2):
        labels = y.copy()
        if seed is not None:
            labels = np.random.default_rng(seed).permutation(labels)
        found = transfer(blobs(150), X, test=(X, labels))
        outcomes.append(found)
    first = outcomes[0]
    for other in outcomes[1:]:
        assert other.verdict == first.verdict
        pd.testing.assert_frame_equal(other.predictions, first.predictions)
        assert other.results["routes"] == first.results["routes"]
        assert other.results["proof"]["headline"] != first.results["proof"]["headline"]


def test_the_same_call_gives_the_same_results(tmp_path):
    for name in ("a", "b"):
        transfer(blobs(150), blobs(90, seed=1), shots=5, out=tmp_path / name)
    for file in ("results.json", "predictions.csv", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_the_saved_model_predicts_what_the_run_predicted(tmp_path):
    target = blobs(90, seed=1)
    result = transfer(blobs(150), target, shots=5, out=tmp_path / "run")
    model = isthmus.load(tmp_path / "run")
    again = model.predict(target[0])
    want = dict(zip(result.predictions["id"], result.predictions["prediction"], strict=True))
    got = dict(zip(again["id"], again["prediction"], strict=True))
    assert {k: got[k] for k in want} == want
    assert model.verify()["ok"]


def test_regression_and_multilabel():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6)).astype("f4")
    slope = np.arange(6.0)
    y = X @ slope + rng.normal(size=200) * 0.1
    result = transfer((X[:100], y[:100]), X[100:], test=(X[100:], y[100:]))
    assert result.results["task"] == "regression"
    assert result.results["proof"]["metrics"]["r2"]["value"] > 0.98
    labels = X[:, :3] > 0
    names = ["|".join(n for n, on in zip("abc", row, strict=True) if on) for row in labels]
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(6)])
    frame["tags"] = names
    result = transfer(
        frame[:120], frame[120:].drop(columns="tags"), test=frame[120:], task="multilabel",
        label="tags",
    )  # fmt: skip
    assert result.results["classes"] == ["a", "b", "c"]
    assert result.results["proof"]["metrics"]["f1_micro"]["value"] > 0.85


def test_a_class_only_the_target_knows_is_learned_and_said():
    source, target = blobs(150), blobs(90, seed=1)
    keep = source[1] != "cat"
    result = transfer((source[0][keep], source[1][keep]), target, shots=5)
    assert result.results["classes"] == ["ant", "bee", "cat"]
    assert any("source lacks: cat" in note for note in result.results["notes"])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (dict(source=blobs(30)), UsageError, "no target"),
        (dict(target=blobs(30)[0]), DataError, "no labels to learn from"),
        (dict(source=blobs(30)[0], target=blobs(30)[0]), DataError, "source has no labels"),
        (dict(target=blobs(30), shots=0), UsageError, "whole number"),
        (dict(target=blobs(30)[0], shots=3), UsageError, "needs a target that has labels"),
        (dict(target=blobs(30), shots=2, target_labels={"0": "ant"}), UsageError, "one of them"),
        (dict(source=blobs(30), target=blobs(9)[0], target_labels={}), DataError, "labels no row"),
        (dict(target=(blobs(9)[0], np.array(["ant"] * 9, object))), DataError, "single class"),
        (dict(target=blobs(30), head="logistik"), UsageError, "logistic"),
        (dict(source=blobs(30), target=["a text", "another"]), DataError, "different kinds"),
    ],
)  # fmt: skip
def test_refusals_name_the_fault(call, error, words):
    with pytest.raises(error, match=words):
        transfer(**call)


def test_another_call_does_not_overwrite_a_finished_run(tmp_path):
    transfer(target=blobs(60), out=tmp_path / "run")
    with pytest.raises(UsageError, match="another call"):
        transfer(target=blobs(60), seed=1, out=tmp_path / "run")
    transfer(target=blobs(60), seed=1, out=tmp_path / "run", overwrite=True)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["settings"]["seed"] == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(UsageError, match="not a run"):
        transfer(target=blobs(60), out=tmp_path / "mine", overwrite=True)


def test_the_module_stays_callable_after_it_is_imported():
    import isthmus.transfer

    assert callable(isthmus.transfer)


def test_a_budget_that_the_target_uses_up_still_leaves_a_source():
    """Without any source row there is no model; the least that is taken is said."""
    result = transfer(blobs(900), blobs(150, seed=1)[0], test=blobs(90, seed=2), time=1e-6)
    assert result.results["proof"]["metrics"]["accuracy"]["value"] > 0.9
    (note,) = [n for n in result.results["notes"] if "time budget" in n]
    assert "exceeded for 200 of 900 source rows" in note


def test_a_feature_named_like_a_label_stays_one_in_the_target():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["y", "rating", "z"])
    frame["outcome"] = np.where(frame["y"] + frame["rating"] > 0, "up", "down")
    unlabelled = frame[100:].drop(columns="outcome")
    result = transfer(frame[:100], unlabelled, label="outcome", test=frame[100:])
    assert len(result.predictions) == 100
    assert result.results["proof"]["metrics"]["accuracy"]["value"] > 0.8
