"""Targets with other classes than the source, through the whole run and the saved model."""

from __future__ import annotations

import json

import numpy as np
import pytest

import isthmus
from isthmus.errors import UsageError
from isthmus.run.label_set import known_setting
from isthmus.serve.eject import eject
from isthmus.transfer import transfer

NAMES = np.array(["ant", "bee", "cat", "dog", "elk", "fox"], dtype=object)
CENTRES = 3.0 * np.random.default_rng(4).normal(size=(6, 8))


def rows(n, classes, *, shift=0.3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.array(sorted(classes))[np.arange(n) % len(classes)]
    return (CENTRES[y] + 1.5 * rng.normal(size=(n, 8)) + shift).astype("f4"), NAMES[y]


ALL, HALF = range(6), range(3)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    out = tmp_path_factory.mktemp("open") / "run"
    source, target = rows(120, HALF, shift=0.0), rows(150, ALL, seed=1)
    return transfer(source, target, label_set="open", out=out), target, out


def test_open_abstains_and_the_sealed_score_counts_novel_rows(opened):
    result, (_, y), _ = opened
    said = result.predictions["prediction"].to_numpy()
    novel = ~np.isin(y.astype(str), NAMES[:3].astype(str))
    assert (said[novel] == "unknown").mean() > 0.2 > (said[~novel] == "unknown").mean()
    np.testing.assert_array_equal(said == "unknown", result.predictions["novelty"] > 0.5)
    right = np.where(novel, said == "unknown", said == y).mean()
    metrics = result.results["proof"]["metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(right)
    assert metrics["unknown_recall"]["value"] == pytest.approx((said[novel] == "unknown").mean())
    assert metrics["h_score"]["value"] > 0.3
    headline = result.results["proof"]["headline"]  # "no transfer" never answers unknown
    assert headline["no transfer"]["value"] < headline[result.verdict.decision]["value"]
    found = result.results["label_set"]
    assert found["setting"] == "open" and 0 < found["open"]["refused"] < 1
    assert {"low", "high"} <= set(found["open"]["novel_share"])
    text = result.text()
    assert "H-score" in text and "answered unknown" in text
    assert not any(f["code"] == "ISX029" for f in result.results["findings"])


def test_the_saved_model_abstains_on_new_rows_too(opened):
    result, (X, y), out = opened
    model = isthmus.load(out)
    frame = model.predict(X)
    assert list(frame["prediction"]) == list(result.predictions["prediction"])
    assert "novelty" in frame and frame["confidence"].notna().all()
    scores = model.evaluate((X, y))
    assert scores["h_score"].value == pytest.approx(
        result.results["proof"]["metrics"]["h_score"]["value"]
    )
    assert model.verify()["ok"]
    json.loads((out / "results.json").read_text("utf-8"))
    with pytest.raises(UsageError, match="abstains"):
        eject(out)


def test_partial_weighs_absent_classes_down():
    source, target = rows(180, ALL, shift=0.0), rows(120, HALF, seed=2)
    result = transfer(source, target, label_set="partial")
    found = result.results["label_set"]["partial"]
    assert set(found["absent"]) <= set(NAMES[3:]) and len(found["absent"]) >= 2
    assert found["source_rows"] == 180 > found["source_rows_kept"] >= 90
    assert result.results["data"]["source"]["rows"] == found["source_rows_kept"]
    assert max(found["weights"][n] for n in found["absent"]) < 0.2
    assert result.results["proof"]["metrics"]["accuracy"]["value"] > 0.8
    assert any("estimated absent" in note for note in result.results["notes"])


def test_auto_acts_as_closed():
    source, target = rows(90, HALF, shift=0.0), rows(60, HALF, seed=3)
    plain, auto = (transfer(source, target, label_set=s) for s in ("closed", None))
    for name in ("proof", "choice", "routes", "verdict"):
        assert plain.results[name] == auto.results[name]
    assert auto.results["label_set"] == {"setting": "auto", "partial": {}, "open": {}}
    assert "novelty" not in auto.predictions


def test_what_cannot_be_is_refused_before_the_work():
    with pytest.raises(UsageError, match="partial"):
        known_setting("partail")
    X, y = rows(60, HALF)
    numbers = np.arange(60, dtype=float)
    with pytest.raises(UsageError, match="regression"):
        transfer((X, numbers), X, label_set="open", task="regression")
    with pytest.raises(UsageError, match="no source"):
        transfer(None, (X, y), shots=5, label_set="partial")
    named = np.where(y == "ant", "unknown", y)
    with pytest.raises(UsageError, match="'unknown'"):
        transfer((X, named), X, label_set="open")
