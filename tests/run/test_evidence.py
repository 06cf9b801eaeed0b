"""What a run keeps for its report: the rows of the proof, no more truth than was opened."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from isthmus.demo.cases import DATA
from isthmus.fit.blend import uncalibrated
from isthmus.iofs import tensors_from_bytes
from isthmus.run.evidence.media import BUDGET, wanted_order
from isthmus.run.evidence.occlude import hide_columns, hide_pixels, hide_sound, hide_words
from isthmus.run.evidence.rows import PARTS, Kept, chosen_to_explain
from isthmus.transfer import transfer


def run(folder, **call):
    result = transfer(**call, method="none", head="ridge", out=folder, say=lambda line: None)
    facts = json.loads((folder / "report_data.json").read_text("utf-8"))
    path = folder / "report_data.safetensors"
    return result, facts, tensors_from_bytes(path.read_bytes(), path)


@pytest.fixture
def heart(tmp_path):
    """60 rows of each hospital."""
    frame = pd.read_csv(DATA / "heart" / "heart.csv")
    frame = frame.groupby("hospital").head(60).reset_index(drop=True)
    frame.to_csv(tmp_path / "heart.csv", index=False)
    return {
        "source": tmp_path / "heart.csv",
        "source_domain": "cleveland",
        "target_domain": "hungarian",
        "label": "num>0",
    }


def test_sealed_run_keeps_the_rows_of_its_confusion_matrix(heart, tmp_path):
    result, facts, tensors = run(tmp_path / "out", **heart)
    rows, found = facts["rows"], result.results["proof"]["metrics"]["confusion"]
    matrix = np.zeros((2, 2), int)
    for scored, truth, predicted in zip(rows["scored"], rows["truth"], rows["prediction"]):
        if scored:
            matrix[found["classes"].index(truth), found["classes"].index(predicted)] += 1
    assert matrix.tolist() == found["matrix"]
    assert facts["scored"] == {
        "role": "test", "rows": 60, "wrong": int(matrix[0, 1] + matrix[1, 0]), "openings": 1,
    }  # fmt: skip
    assert result.results["proof"]["openings"] == 1
    assert tensors["components"].shape[0] == len(rows["id"]) == 120
    assert sum(facts["map"]["explained_variance"][:2]) <= 1
    assert facts["call"]["label"] == "num>0" and "reading" not in facts["call"]
    columns = {c["column"] for c in facts["importance"]["columns"]}
    assert "age" in columns and facts["importance"]["of"] == "score"
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col="id")["prediction"]
    for name, part, predicted in zip(rows["id"], rows["part"], rows["prediction"]):
        if PARTS[part] == "target":
            assert predictions[name] == predicted


def test_without_target_labels_only_source_labels_are_kept(heart, tmp_path):
    frame = pd.read_csv(heart["source"])
    here = frame[frame["hospital"] == "cleveland"]
    here.to_csv(tmp_path / "a.csv", index=False)
    frame[frame["hospital"] == "hungarian"].drop(columns="num").to_csv(
        tmp_path / "b.csv", index=False
    )
    result, facts, _ = run(
        tmp_path / "out", source=tmp_path / "a.csv", target=tmp_path / "b.csv", label="num>0"
    )
    rows = facts["rows"]
    assert facts["scored"]["role"] == "source" and facts["scored"]["openings"] == 0
    for part, truth in zip(rows["part"], rows["truth"]):
        assert (truth is None) == (PARTS[part] == "target")
    found = result.results["proof"]["metrics"]["confusion"]["matrix"]
    assert facts["scored"]["wrong"] == found[0][1] + found[1][0]  # the same folds as the proof
    assert facts["gap"]["prior"]["from"].startswith("estimates")
    assert facts["importance"]["of"] == "agreement"


def test_calibration_before_differs_only_by_the_temperature(heart, tmp_path):
    result, facts, _ = run(tmp_path / "out", **heart)
    model = result.model
    X = result._features.target.X
    plain, given = uncalibrated(model, X), model.predict_proba(X)
    ratio = np.log(plain[:, 0] / plain[:, 1]) / np.log(given[:, 0] / given[:, 1])
    assert np.allclose(ratio, model.temperature_.T_, rtol=1e-4)
    assert facts["calibration"]["after"]["ece"] == pytest.approx(
        _ece(given, facts, result), abs=1e-9
    )


def _ece(proba, facts, result):
    rows = facts["rows"]
    truth = {n: t for n, t, s in zip(rows["id"], rows["truth"], rows["scored"]) if s}
    names = np.array(result.model.classes)[proba.argmax(axis=1)]
    right = np.array([truth[i] for i in result._features.target.samples.ids]) == names
    sure, found = proba.max(axis=1), 0.0
    for k in range(10):
        inside = (sure > k / 10) & (sure <= (k + 1) / 10)
        if inside.any():
            found += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return found


def test_words_are_left_out_one_by_one():
    hidden = hide_words("not a good film")
    assert hidden.items == ["not a good film", "a good film", "not good film", "not a film",
                            "not a good"]  # fmt: skip
    long = hide_words(" ".join(map(str, range(200))))
    assert len(long.items) == 41 and " ".join(long.facts["words"]).split()[-1] == "199"


def test_patches_cover_every_pixel_once():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (50, 90, 3), dtype=np.uint8)
    hidden = hide_pixels(pixels)
    changed = sum((v != hidden.items[0]).any(axis=2).astype(int) for v in hidden.items[1:])
    assert len(hidden.items) == 50 and hidden.facts["size"] == [90, 50]
    assert changed.max() == 1 and (changed == 1).mean() > 0.95


def test_silenced_moment_is_the_one_that_sounded():
    rate = 16_000
    t = np.arange(rate) / rate
    wave = (np.where((t > 0.5) & (t < 0.58), np.sin(2 * np.pi * 440 * t), 0) / 2).astype("float32")
    hidden = hide_sound((wave, rate))
    whole = (hidden.items[0][0] ** 2).sum()
    left = np.array([(v[0] ** 2).sum() for v in hidden.items[1:]]).reshape(4, 12) / whole
    band, moment = np.unravel_index(left.argmin(), left.shape)
    assert (band, moment) == (0, 6) and left.min() < 0.2
    assert np.allclose(left[2:], 1, atol=0.01)
    assert np.array(hidden.facts["spectrogram"]).shape[0] == 48


def test_columns_take_their_usual_value():
    known = pd.DataFrame({"a": [1.0, 2.0, 9.0], "b": ["x", "x", "y"]})
    hidden = hide_columns(pd.DataFrame({"a": [7.0], "b": ["y"]}), known)
    assert hidden.items["a"].tolist() == [7.0, 2.0, 7.0]
    assert hidden.items["b"].tolist() == ["y", "y", "x"]
    assert hidden.facts["usual"] == ["2", "x"]


def made(n: int) -> Kept:
    kept = Kept(False)
    for i in range(n):
        kept.ids.append(str(i))
        kept.part.append(2)
        kept.row.append(i)
        kept.on_map.append(True)
        kept.truth.append("a")
        kept.predicted.append("ab"[i % 2])
        kept.confidence.append(0.5 + i / (2 * n))
        kept.right.append(i % 2 == 0)
        kept.scored.append(True)
    return kept


def test_rows_worth_most_get_their_media_first():
    order = wanted_order(made(40), [7])
    assert order[0] == 7 and order[1:4] == [39, 37, 35]  # surest mistakes
    assert sorted(order) == list(range(40)) and BUDGET < 2_000_000


def test_explained_rows_are_sure_mistakes_doubtful_ones_and_right_ones():
    found = chosen_to_explain(made(40))
    assert found[:2] == [39, 37] and found[2:4] == [0, 1] and 38 in found
    assert len(found) == len(set(found)) <= 6


def test_where_nothing_was_scored_no_row_is_shown():
    from types import SimpleNamespace

    from isthmus.run.evidence.scored import scored_rows

    assert scored_rows(SimpleNamespace(), SimpleNamespace(answered=None)) is None
