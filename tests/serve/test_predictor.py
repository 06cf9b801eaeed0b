from __future__ import annotations

import csv
import io
import json
import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus.data import read
from isthmus.data.samples import FrameItems, Samples
from isthmus.errors import BundleError, DataError, IsthmusError
from isthmus.serve import Predictor, load
from isthmus.serve.schema import fit_to_schema, schema_of
from isthmus.serve.writers import frame_to_csv, frame_to_jsonl, guard, records


@pytest.fixture
def photo_predictor(photo_bundle, kit):
    return load(photo_bundle.folder, backbone=kit.Colours())


@pytest.fixture
def new_photos(tmp_path, kit):
    """Three red photos and two files that are none."""
    folder = tmp_path / "new"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(kit.jpeg((200, 30, 30), seed=i))
    (folder / "1b.jpg").write_bytes(b"\xff\xd8 not a photo")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


# -- predict -----------------------------------------------------------------------------------


def test_every_file_is_a_row_and_bad_ones_say_why(photo_predictor, new_photos):
    found = photo_predictor.predict(new_photos)
    assert list(found.columns) == [
        "id",
        "prediction",
        "confidence",
        "p(blue)",
        "p(green)",
        "p(red)",
        "error",
    ]
    assert list(found["id"]) == ["0.jpg", "1.jpg", "1b.jpg", "2.jpg", "empty.jpg"]
    good = found[found["error"].isna()]
    assert list(good["prediction"]) == ["red"] * 3
    proba = good[["p(blue)", "p(green)", "p(red)"]].to_numpy()
    assert np.allclose(proba.sum(axis=1), 1)
    assert np.array_equal(good["confidence"], proba.max(axis=1))
    bad = found[found["error"].notna()]
    assert "not an image" in bad["error"].iloc[0] and "empty" in bad["error"].iloc[1]
    assert bad[["prediction", "confidence", "p(red)"]].isna().all().all()


def test_bad_rows_stop_it_where_that_is_asked_for(photo_predictor, new_photos):
    with pytest.raises(DataError, match="cannot be used"):
        photo_predictor.predict(new_photos, max_bad=0.1)


def test_ways_to_name_the_same_photos(photo_predictor, new_photos):
    files = [new_photos / f"{i}.jpg" for i in range(3)]
    whole = photo_predictor.predict(new_photos)
    expected = whole[whole["error"].isna()]["p(red)"].to_numpy()
    table = new_photos / "list.csv"
    pd.DataFrame({"file": [f.name for f in files]}).to_csv(table, index=False)
    for data in (
        files,
        [str(f) for f in files],
        [f.read_bytes() for f in files],
        table,
        read(files, label="none"),
    ):
        found = photo_predictor.predict(data)
        assert np.array_equal(found["p(red)"], expected)
    one = photo_predictor.predict(str(files[1]))
    assert np.array_equal(one["p(red)"], expected[1:2])


def test_folders_and_files_together_keep_unique_ids(photo_predictor, photo_bundle, new_photos):
    data = photo_bundle.samples.items.root
    found = photo_predictor.predict([new_photos, data / "red", data / "blue"])
    assert len(found) == 5 + 24
    assert found["id"].is_unique
    last = found[found["error"].isna()].tail(12)
    assert list(last["prediction"]) == ["blue"] * 12


def test_labels_in_the_data_do_not_matter(small_bundle):
    X, y = numbers = small_bundle.samples.items.values, small_bundle.samples.labels
    predictor = load(small_bundle.folder)
    expected = predictor.predict(np.asarray(X))
    wrong = np.roll(y, 7)
    nonsense = np.array([1.5] * len(y))
    for data in (numbers, (X, wrong), (X, nonsense), small_bundle.samples):
        found = predictor.predict(data)
        assert np.array_equal(found["p(one)"], expected["p(one)"])
        assert list(found["prediction"]) == list(expected["prediction"])


def test_the_classes_of_a_folder_are_not_looked_at(photo_predictor, photo_bundle):
    root = photo_bundle.samples.items.root
    found = photo_predictor.predict(root)
    truth = [name.split("/")[0] for name in found["id"]]
    assert list(found["prediction"]) == truth
    assert len(found) == 36


def test_a_prediction_does_not_depend_on_the_other_rows(photo_predictor, photo_bundle):
    samples = photo_bundle.samples
    whole = photo_predictor.predict(samples)
    order = np.random.default_rng(0).permutation(len(samples))
    shuffled = photo_predictor.predict(samples.take(order))
    assert np.array_equal(shuffled["p(red)"], whole["p(red)"].to_numpy()[order])
    single = [photo_predictor.predict(samples.take(np.array([r])))["p(red)"][0] for r in (0, 17)]
    # BLAS adds up a single row in another order: the last bits differ, the features do not
    assert np.allclose(single, whole["p(red)"][[0, 17]], rtol=1e-12, atol=0)


def test_tasks_have_their_own_columns(tmp_path, kit):
    backbone = kit.load_backbone("identity", modality="features").fixed(5)
    X, y = kit.numbers("multilabel")
    kit.save(tmp_path / "many", read((X, y)), backbone, task="multilabel")
    found = load(tmp_path / "many").predict(X)
    assert "confidence" not in found.columns
    names = [c[2:-1] for c in found.columns if c.startswith("p(")]
    for row in range(5):
        on = [n for n in names if found[f"p({n})"][row] > 0.5]
        assert found["prediction"][row] == "|".join(on)
    X, y = kit.numbers("regression")
    kit.save(tmp_path / "value", read((X, y), task="regression"), backbone, task="regression")
    found = load(tmp_path / "value").predict(X)
    assert list(found.columns) == ["id", "prediction", "error"]
    assert np.abs(found["prediction"] - y).max() < 0.5


def test_texts_from_lists_and_columns(tmp_path, kit, caplog):
    texts = ["aa bee now", "oo you there", "aa aa b and", "you ooh no"] * 6
    frame = pd.DataFrame({"review": texts, "stars": ["a", "o"] * 12})
    kit.save(tmp_path / "m", read(frame, label="stars"), kit.Letters())
    predictor = load(tmp_path / "m", backbone=kit.Letters())
    found = predictor.predict(["aa bee", "", "oo u"])
    by_id = found.set_index("id")
    assert by_id["prediction"]["array[0]"] == "a" and by_id["prediction"]["array[2]"] == "o"
    assert "empty" in by_id["error"]["array[1]"]
    other = pd.DataFrame({"review": ["aa", "oo"], "body": ["oo you oo", "aa aa bee"]})
    assert list(predictor.predict(other)["prediction"]) == ["a", "o"]
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        found = predictor.predict(other[["body"]])
    assert list(found["prediction"]) == ["o", "a"]
    assert "no text column 'review'" in caplog.text
    found = predictor.predict(other, text="body")
    assert list(found["prediction"]) == ["o", "a"]


def test_another_kind_of_data_is_refused(photo_predictor, small_bundle, tmp_path):
    with pytest.raises(IsthmusError, match="image"):
        photo_predictor.predict(["some text"])
    with pytest.raises(DataError, match="4 features, the model was trained on 5"):
        load(small_bundle.folder).predict(np.zeros((3, 4)))
    with pytest.raises(IsthmusError):
        photo_predictor.predict(tmp_path / "missing")


def test_the_lazy_name_works(small_bundle):
    assert isinstance(isthmus.load(small_bundle.folder), Predictor)


def test_without_a_folder(small_bundle):
    predictor = Predictor.from_parts(
        model=small_bundle.model,
        backbone=small_bundle.backbone,
        task="classification",
        classes=small_bundle.samples.classes,
        modality="features",
    )
    X = np.asarray(small_bundle.samples.items.values)
    expected = load(small_bundle.folder).predict(X)
    pd.testing.assert_frame_equal(predictor.predict(X), expected)
    with pytest.raises(BundleError, match="not loaded from a folder"):
        predictor.verify()


# -- tables ------------------------------------------------------------------------------------


def frame():
    return pd.DataFrame(
        {
            "age": [50.0, 61.0, np.nan],
            "site": ["x", "y", None],
            "smoker": [True, False, True],
            "code": ["1", "2", "3"],
        }
    )


def as_samples(value):
    return Samples(FrameItems(value), tuple(map(str, range(len(value)))), "table", origin="t.csv")


@pytest.fixture
def table_schema():
    return schema_of(as_samples(frame()))


def fit(value, schema):
    samples, notes = fit_to_schema(as_samples(value), schema)
    return samples.items.frame, notes


def test_columns_are_named_with_their_kinds(table_schema):
    kinds = {column["name"]: column["kind"] for column in table_schema["columns"]}
    assert kinds == {"age": "number", "site": "text", "smoker": "truth", "code": "text"}


def test_order_and_further_columns_do_not_matter(table_schema):
    mixed = frame()[["code", "smoker", "age", "site"]].assign(label=1, note="x")
    found, notes = fit(mixed, table_schema)
    pd.testing.assert_frame_equal(found, frame())
    assert notes == ["columns 'label', 'note' unknown to the model and not used"]


def test_missing_columns_are_named_with_the_nearest(table_schema):
    with pytest.raises(DataError, match="column 'smoker' of the training data is missing") as e:
        fit(frame().rename(columns={"smoker": "smokers"}), table_schema)
    assert "'smokers'" in e.value.remedy
    with pytest.raises(DataError, match="columns 'site', 'code'"):
        fit(frame()[["age", "smoker"]], table_schema)


def test_kinds_are_restored_where_no_value_changes(table_schema):
    other = frame()
    other["age"] = ["50", " 61 ", None]  # read as text
    other["smoker"] = [1, 0, 1]
    other["code"] = [1, 2, 3]  # read as numbers: 1 and "1" are the same code
    other["site"] = [None, None, None]
    found, _ = fit(other, table_schema)
    assert list(found["age"][:2]) == [50, 61] and np.isnan(found["age"][2])
    assert list(found["smoker"]) == [True, False, True] and found["smoker"].dtype == bool
    assert list(found["code"]) == ["1", "2", "3"]
    assert found["site"].isna().all()


def test_values_of_another_kind_are_refused(table_schema):
    other = frame()
    other["age"] = ["50", "old", "61"]
    with pytest.raises(DataError, match="'old' is not a number") as caught:
        fit(other, table_schema)
    assert caught.value.where == "t.csv: column 'age'"
    other = frame()
    other["smoker"] = ["yes", "no", "yes"]
    with pytest.raises(DataError, match="holds text values"):
        fit(other, table_schema)


# -- evaluate ----------------------------------------------------------------------------------


def test_figures_are_those_of_the_predictions(small_bundle):
    samples = small_bundle.samples
    predictor = load(small_bundle.folder)
    found = predictor.evaluate(samples)
    right = np.mean(predictor.predict(samples)["prediction"].to_numpy() == samples.labels)
    assert found["accuracy"].value == right
    assert found["accuracy"].low <= right <= found["accuracy"].high
    assert found["rows"] == {"seen": 60, "scored": 60, "unlabelled": 0, "bad": 0}
    again = predictor.evaluate(samples)
    assert again["accuracy"] == found["accuracy"]


def test_unlabelled_and_unseen_rows_are_counted(small_bundle):
    X, y = np.asarray(small_bundle.samples.items.values), small_bundle.samples.labels.copy()
    y[:6] = None
    y[6:10] = "never seen"
    found = load(small_bundle.folder).evaluate((X, y))
    assert found["rows"] == {"seen": 60, "scored": 54, "unlabelled": 6, "bad": 0}
    assert found["unseen"] == {"never seen": 4}
    assert found["accuracy"].value <= 50 / 54
    assert any("not trained on" in note for note in found["notes"])


def test_bad_rows_stop_a_score(photo_predictor, new_photos):
    pd.DataFrame({"file": ["0.jpg", "1.jpg", "1b.jpg"], "label": ["red", "blue", "red"]}).to_csv(
        new_photos / "list.csv", index=False
    )
    with pytest.raises(DataError, match=r"1b\.jpg"):
        photo_predictor.evaluate(new_photos / "list.csv")
    found = photo_predictor.evaluate(new_photos / "list.csv", max_bad=0.5)
    assert found["rows"] == {"seen": 3, "scored": 2, "unlabelled": 0, "bad": 1}
    assert found["problems"][0]["where"] == "1b.jpg"
    assert found["accuracy"].value == 0.5


def test_without_labels_there_is_no_score(small_bundle, photo_predictor, new_photos):
    with pytest.raises(DataError, match="no labels to compare with"):
        load(small_bundle.folder).evaluate(np.asarray(small_bundle.samples.items.values))
    samples = small_bundle.samples
    X = np.asarray(samples.items.values)
    with pytest.raises(IsthmusError, match="regression"):
        load(small_bundle.folder).evaluate(read((X, X[:, 0]), task="regression"))


def test_multilabel_columns_are_matched_by_name(tmp_path, kit):
    backbone = kit.load_backbone("identity", modality="features").fixed(5)
    X, y = kit.numbers("multilabel")
    samples = read((X, y))
    kit.save(tmp_path / "m", samples, backbone, task="multilabel")
    predictor = load(tmp_path / "m")
    expected = predictor.evaluate(samples)["f1_micro"]
    order = [2, 0, 1]
    turned = Samples(
        samples.items,
        samples.ids,
        "features",
        task="multilabel",
        labels=samples.labels[:, order],
        classes=tuple(samples.classes[k] for k in order),
    )
    assert predictor.evaluate(turned)["f1_micro"] == expected
    unknown = Samples(
        samples.items,
        samples.ids,
        "features",
        task="multilabel",
        labels=samples.labels,
        classes=(*samples.classes[:2], "new"),
    )
    with pytest.raises(DataError, match="never saw the labels 'new'"):
        predictor.evaluate(unknown)


# -- what is written ---------------------------------------------------------------------------


def answer():
    return pd.DataFrame(
        {
            "id": pd.Series(
                ["=cmd|' /C calc'!A0", 'a "quoted", name', "-3", "x\udcff.jpg"], dtype=object
            ),
            "prediction": ["-1", "@evil", None, "é"],
            "confidence": [0.123456789123, 1.0, np.nan, 0.5],
            "p(a)": [0.25, 1.0, np.nan, 0.5],
            "p(p(b))": [0.75, 0.0, np.nan, 0.5],
            "error": [None, None, "-- broken", None],
        }
    )


def test_csv_reads_back_and_runs_no_formula():
    rows = list(csv.DictReader(io.StringIO(frame_to_csv(answer()))))
    assert [row["id"] for row in rows] == [
        "'=cmd|' /C calc'!A0",
        'a "quoted", name',
        "-3",
        "x\\udcff.jpg",
    ]
    assert [row["prediction"] for row in rows] == ["-1", "'@evil", "", "é"]
    assert rows[0]["confidence"] == "0.123456789"
    assert rows[2]["error"] == "'-- broken" and rows[2]["p(a)"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@sum", "\t=1", "\r=1", " =1", "-1-1", "+1a"])
def test_formulas_are_guarded(text):
    assert guard(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a=1", "-1", "+1.5e3", "-.5", "1-2", "e@mail"])
def test_plain_texts_and_numbers_are_not_touched(text):
    assert guard(text) == text


def test_jsonl_keeps_names_as_they_are():
    rows = [json.loads(line) for line in frame_to_jsonl(answer()).splitlines()]
    assert rows == records(answer())
    assert rows[0]["id"] == "=cmd|' /C calc'!A0"
    assert rows[0]["probabilities"] == {"a": 0.25, "p(b)": 0.75}
    assert rows[2] == {
        "id": "-3",
        "prediction": None,
        "confidence": None,
        "probabilities": {"a": None, "p(b)": None},
        "error": "-- broken",
    }


# -- real data, real backbones -----------------------------------------------------------------


def test_heart_disease_of_one_hospital_for_the_others(tmp_path, real_data, kit):
    table = real_data / "heart" / "heart.csv"
    samples = read(table)
    here = samples.domain == "cleveland"
    trained = samples.take(here)
    backbone = kit.load_backbone(modality="table").fit(trained.items.frame)
    made = kit.save(tmp_path / "model", trained, backbone)
    assert made.manifest["input"]["reading"]["label"] == "num"
    predictor = load(tmp_path / "model")
    report = predictor.verify()
    assert report["ok"] and report["replayed"] == 8 and report["largest_difference"] <= 1e-6
    found = predictor.predict(table)
    assert len(found) == 920 and found["error"].isna().all()
    expected = made.model.predict(backbone(samples.items.frame))
    assert list(found["prediction"]) == list(expected)
    figures = predictor.evaluate(table)
    assert figures["accuracy"].value == np.mean(expected == samples.labels)
    assert figures["rows"]["scored"] == 920
    frame = pd.read_csv(table)
    pd.testing.assert_series_equal(
        predictor.predict(frame.drop(columns=["num", "hospital"]))["p(0)"], found["p(0)"]
    )
    with pytest.raises(DataError, match="chol"):
        predictor.predict(frame.drop(columns=["chol"]))
    with pytest.raises(DataError, match="age"):
        predictor.predict(frame.assign(age="old"))


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_default_backbones_come_back_in_a_fresh_process(tmp_path, real_data, kit, modality):
    """Saved here, verified and used there: same answers, from the same bytes."""
    if modality == "image":
        samples = read(real_data / "sign_digits")
        new = real_data / "sign_digits" / samples.ids[700]
    elif modality == "text":
        samples = read(real_data / "reviews" / "sentences.csv")
        new = tmp_path / "new.csv"
        new.write_text("text\nA wonderful film.\nIt broke after a day.\n")
    else:
        pattern = "{label}_{domain}_*"
        samples = read(real_data / "spoken_digits", label=pattern, domain=pattern)
        new = real_data / "spoken_digits" / samples.ids[5]
    rows = np.linspace(0, len(samples) - 1, 60).astype(int)
    made = kit.save(tmp_path / "model", samples.take(rows), kit.load_backbone(modality=modality))
    here = load(tmp_path / "model").predict(new)
    code = (
        "import sys; from isthmus.serve import load\n"
        "p = load(sys.argv[1]); assert p.verify()['ok']\n"
        "f = p.predict(sys.argv[2]); print(f.iloc[:, 3].to_numpy().tobytes().hex())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.folder), str(new)],
        capture_output=True,
        check=True,
        text=True,
    )
    there = np.frombuffer(bytes.fromhex(done.stdout.split()[-1]))
    assert np.array_equal(there, here.iloc[:, 3].to_numpy())
