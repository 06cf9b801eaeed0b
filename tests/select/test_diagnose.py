"""Known shifts are named: none, covariate, class shares, one class, one feature."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus.fit.adapted import common_space
from isthmus.fit.features import FeatureProcessor
from isthmus.select.diagnose import MAX_ROWS, diagnose_features

NAMES = np.array(["ant", "bee", "cat"], dtype=object)


def side(n, seed, *, shares=(1 / 3, 1 / 3, 1 / 3), move=None, shift=0.0):
    """Three classes in six dimensions; `move` shifts one class, `shift` all rows."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, n, p=shares)
    X = rng.normal(size=(n, 6)) + 5 * np.eye(6)[codes] + shift
    for code, by in (move or {}).items():
        X[codes == code] += by
    return X.astype("f4"), NAMES[codes]


def look(source, target, *, labels=True, **more):
    (Xs, ys), (Xt, yt) = source, target
    space = common_space(FeatureProcessor(), Xs, Xt)
    given = {"task": "classification", "ys": ys, "yt": yt if labels else None, **more}
    found = diagnose_features(space, Xs=Xs, Xt=Xt, **given)
    json.dumps(found, allow_nan=False)
    return found, {gap["key"]: gap for gap in found["gaps"]}


def test_two_samples_of_one_domain():
    found, gaps = look(side(300, 0), side(300, 1))
    assert gaps["domain_auc"]["interval"]["low"] <= 0.5
    assert gaps["mmd"]["p_value"] > 0.05 and "Chance" in gaps["mmd"]["reading"]
    assert gaps["sliced_wasserstein"]["value"] < 1.5 * gaps["sliced_wasserstein"]["chance"]
    assert found["prior"]["p_value"] > 0.05 and not found["prior"]["shifted"]
    assert found["drift"]["drifted"] == 0
    assert all(abs(c["towards"]) < 0.25 for c in found["per_class"]["classes"])


def test_rows_that_all_move_are_seen_by_every_measure_and_no_class_changes_sides():
    found, gaps = look(side(300, 0), side(300, 1, shift=1.0))
    assert gaps["domain_auc"]["value"] > 0.9 and gaps["mmd"]["p_value"] < 0.01
    assert gaps["sliced_wasserstein"]["value"] > 3 * gaps["sliced_wasserstein"]["chance"]
    assert "about as much" in gaps["coral_distance"]["reading"]  # it is blind to means
    assert found["drift"]["drifted"] == 6
    assert all(c["reading"] == "keeps to its side" for c in found["per_class"]["classes"])
    assert "All 3 shared classes" in gaps["otdd"]["reading"]


def test_class_shares_with_labels_and_without():
    pair = side(400, 0), side(400, 1, shares=(0.8, 0.1, 0.1))
    counted, _ = look(*pair)
    assert counted["prior"]["shifted"] and counted["prior"]["from"] == "target labels"
    truth = {c["class"]: c["target"] for c in counted["prior"]["classes"]}
    guessed, _ = look(*pair, labels=False)
    assert "MLLS" in guessed["prior"]["from"] and guessed["prior"]["shifted"]
    for entry in guessed["prior"]["classes"]:
        assert entry["target"] == pytest.approx(truth[entry["class"]], abs=0.05)
        low, high = entry["interval"]
        assert low <= truth[entry["class"]] <= high
        assert entry["bbse"][0] == pytest.approx(truth[entry["class"]], abs=0.08)
    assert guessed["per_class"]["by"] == "predictions"


def test_estimates_across_a_wide_gap_are_marked_as_untrustworthy():
    found, _ = look(side(300, 0), side(300, 1, shift=4.0), labels=False)
    assert "may be wrong" in found["prior"]["reading"] and not found["prior"]["shifted"]


def test_one_class_that_walks_over_to_another_is_named():
    towards_bee = 4.0 * (np.eye(6)[1] - np.eye(6)[0])
    found, _ = look(side(300, 0), side(300, 1, move={0: towards_bee}))
    first = found["per_class"]["classes"][0]
    assert (first["class"], first["other"]) == ("ant", "bee")
    assert first["towards"] == pytest.approx(0.8, abs=0.08)
    assert "may not carry over" in first["reading"]
    assert all(c["towards"] < 0.25 for c in found["per_class"]["classes"][1:])
    assert first["auc"]["value"] > 0.99


def test_missing_and_novel_classes_are_named():
    Xt, yt = side(200, 1, shares=(0.5, 0.5, 0.0))
    yt = np.where(yt == "bee", "dog", yt).astype(object)
    found, _ = look(side(200, 0), (Xt, yt))
    assert found["prior"]["missing"] == ["bee", "cat"] and found["prior"]["novel"] == ["dog"]
    assert [c["reading"] for c in found["per_class"]["classes"]].count("no target row") == 2


def test_one_feature_that_drifts_is_first_and_has_its_name():
    (Xs, ys), (Xt, yt) = side(300, 0), side(300, 1)
    Xt = Xt.copy()
    Xt[:, 4] += 2
    names = [f"f{i}" for i in range(6)]
    found, _ = look((Xs, ys), (Xt, yt), names=names)
    worst = found["drift"]["worst"]
    assert found["drift"]["drifted"] == 1 and worst[0]["feature"] == "f4"
    assert worst[0]["shift"] == pytest.approx(2.0, abs=0.2)  # in standard deviations


def test_some_target_labels_are_enough_and_the_others_are_not_read():
    (Xs, ys), (Xt, yt) = side(200, 0), side(200, 1)
    some = yt.copy()
    some[60:] = None
    found, _ = look((Xs, ys), (Xt, some))
    assert sum(c["target"] for c in found["per_class"]["classes"]) == 60
    assert found["prior"]["from"] == "target labels"


def test_without_source_labels_only_the_features_are_compared():
    found, gaps = look(side(100, 0), side(100, 1), labels=False, ys=None, task=None)
    assert found["prior"] is None and found["per_class"] is None and "otdd" not in gaps


def test_regression_compares_the_values():
    (Xs, _), (Xt, _) = side(200, 0), side(200, 1)
    vs = Xs @ np.arange(6.0)
    for vt, shifted in ((Xt @ np.arange(6.0), False), (Xt @ np.arange(6.0) + 40, True)):
        space = common_space(FeatureProcessor(), Xs, Xt)
        found = diagnose_features(space, Xs=Xs, Xt=Xt, task="regression", ys=vs, yt=vt)
        assert found["prior"]["shifted"] is shifted and found["per_class"] is None


def test_groups_keep_to_one_side_of_a_fold_and_too_few_are_said():
    source, target = side(200, 0), side(200, 1)
    many = np.repeat(np.arange(20), 10).astype(str)
    found, _ = look(source, target, groups_s=many, groups_t=many)
    assert any("one side of every fold" in note for note in found["notes"])
    alone = np.zeros(200).astype(str)
    found, _ = look(source, target, groups_s=alone, groups_t=alone)
    assert any("ignores the groups" in note for note in found["notes"])


def test_large_sets_are_sampled_and_it_is_said():
    found, _ = look(side(MAX_ROWS + 500, 0), side(100, 1), labels=False, ys=None, task=None)
    assert any(f"{MAX_ROWS:,} of {MAX_ROWS + 500:,} source rows" in n for n in found["notes"])
    again, _ = look(side(MAX_ROWS + 500, 0), side(100, 1), labels=False, ys=None, task=None)
    assert found == again


def test_one_row_of_a_class_and_one_class_do_not_break_it():
    (Xs, ys), (Xt, yt) = side(100, 0), side(40, 1)
    found, _ = look((Xs, np.full(100, "ant", dtype=object)), (Xt, yt), labels=False)
    assert found["per_class"] is None
    ys = ys.copy()
    ys[:] = "ant"
    ys[:2] = "bee"
    found, _ = look((Xs, ys), (Xt, yt), labels=False)
    assert found["prior"] is not None
