"""What a saved model remembers of its rows, and what new rows break."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus.data import read
from isthmus.serve.contract import SKETCH, contract_of, recheck, sketch

RNG = np.random.default_rng(0)


def rows(n=100, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.gamma(2.0, 2.0, (n, 6)).astype(np.float32)
    return X, np.where(X[:, 0] > 3, "high", "low")


def codes(found):
    return [f.code for f in found]


def test_contract_is_json_and_kept_by_alike_rows():
    X, y = rows()
    kept = json.loads(json.dumps(contract_of(read((X, y)), [X])))
    Z, z = rows(seed=1)
    assert recheck(kept, read((Z, z)), Z, scored=True) == []
    assert recheck({}, read((Z, z)), Z) == [] and recheck({"version": 99}, read((Z, z)), Z) == []


@pytest.mark.parametrize(
    "change",
    [lambda X: X * 255, lambda X: X - 6, lambda X: np.round(X), lambda X: X + 100],
    ids=["scaled", "centred", "rounded", "moved"],
)
def test_other_preparation_is_seen(change):
    X, y = rows()
    kept = contract_of(read((X, y)), [X])
    Z, z = rows(seed=1)
    assert codes(recheck(kept, read((change(Z), z)), change(Z))) == ["ISX007"]


def test_the_gap_of_training_is_no_news():
    X, y = rows()
    target = X * 10
    kept = contract_of(read((X, y)), [X, target])
    assert recheck(kept, read((target, y)), target) == []


def test_unit_of_a_column():
    X, y = rows()
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(label=y)
    samples = read(frame, label="label", modality="table")
    kept = contract_of(samples, [], [samples])
    same = read(frame, label="label", modality="table")
    assert recheck(kept, same, X) == []
    other = read(frame.assign(b=frame.b * 1000), label="label", modality="table")
    (found,) = recheck(kept, other, X)
    assert found.code == "ISX007" and "'b'" in found.title


def test_training_rows_in_a_score_are_seen():
    X, y = rows()
    kept = contract_of(read((X, y)), [X])
    mixed = np.concatenate([X[:30], rows(seed=2)[0][:30]])
    (found,) = recheck(kept, read(mixed), mixed, scored=True)
    assert found.code == "ISX001" and found.figures["share"] == pytest.approx(0.5)
    assert recheck(kept, read(mixed), mixed) == []  # predicting old rows is no fault


def test_sketch_of_many_rows_estimates_the_share():
    many = RNG.normal(size=(3 * SKETCH, 2)).astype(np.float32)
    hashes, count = sketch(read(many))
    assert len(hashes) == SKETCH and count == len(many) and hashes == sorted(hashes)
    half = np.concatenate([many[::6], RNG.normal(size=(SKETCH // 2, 2)).astype(np.float32)])
    (found,) = recheck(contract_of(read(many)), read(half), half, scored=True)
    assert found.figures["share"] == pytest.approx(0.5, abs=0.08)


def test_a_damaged_contract_is_said():
    X, y = rows()
    found = recheck({"version": 1, "features": {"parts": [{}]}}, read((X, y)), X)
    assert codes(found) == ["ISX099"]


def test_saved_model_rechecks(tmp_path):
    isthmus.transfer(rows(200), rows(200, seed=1), out=tmp_path / "run")
    predictor = isthmus.load(tmp_path / "run")
    Z, z = rows(seed=3)
    assert predictor.predict(Z).attrs["findings"] == []
    broken = predictor.predict(Z * 255).attrs["findings"]
    assert [f["code"] for f in broken] == ["ISX007"]
    assert predictor.evaluate((Z, z))["findings"] == []
    again = predictor.evaluate(rows(200))
    assert [f["code"] for f in again["findings"]] == ["ISX001"]
    assert any("ISX001" in note for note in again["notes"])
