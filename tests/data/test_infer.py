from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data import read
from isthmus.data.infer import find_roles
from isthmus.data.options import Options
from isthmus.data.tables import from_frame
from isthmus.data.usual import canonical
from isthmus.errors import UsageError

N = 12
SENTENCES = [f"this is sentence number {i}" for i in range(N)]
TWO = ["a", "b"] * (N // 2)
NUMBERS = np.linspace(0.5, 9.7, N).tolist()


def roles(columns, **options):
    chosen = Options(**options)
    sheet = from_frame(pd.DataFrame(columns), chosen)
    return find_roles(sheet, chosen), sheet


def test_text_table_by_names():
    found, sheet = roles({"site": TWO, "label": TWO, "review": SENTENCES})
    assert (found.modality, found.inputs) == ("text", ["review"])
    assert (found.label, found.domain) == (["label"], "site")
    assert sheet.understood["domain"] == {
        "value": "site",
        "why": "its name; 2 values",
        "option": "--domain",
    }


def test_text_table_by_looks():
    found, sheet = roles({"foo": TWO, "bar": SENTENCES})
    assert (found.modality, found.inputs, found.label) == ("text", ["bar"], ["foo"])
    assert "only other column" in sheet.understood["label"]["why"]


def test_text_without_any_label_column():
    found, sheet = roles({"text": SENTENCES})
    assert found.label == [] and sheet.understood["label"]["value"] is None


def test_text_with_two_candidates_guesses_no_label():
    found, sheet = roles({"text": SENTENCES, "mood": TWO, "style": TWO})
    assert found.label == []
    assert sheet.understood["unused"]["value"] == ["mood", "style"]


def test_a_text_among_many_features_stays_in_the_table():
    columns = {"a": NUMBERS, "b": NUMBERS, "c": NUMBERS, "memo": SENTENCES, "label": TWO}
    found, sheet = roles(columns)
    assert found.modality == "table" and "memo" in found.inputs
    assert "--text memo" in sheet.notes[-1]
    found, _ = roles(columns, text="memo")
    assert (found.modality, found.inputs) == ("text", ["memo"])


def test_plain_table():
    found, _ = roles({"id": range(N), "age": NUMBERS, "sex": TWO, "outcome": TWO, "patient": TWO})
    assert (found.modality, found.inputs) == ("table", ["age", "sex"])
    assert (found.label, found.group, found.id) == (["outcome"], "patient", "id")


def test_label_names_in_order_of_weight():
    found, _ = roles({"num": TWO, "target": TWO[::-1], "x": NUMBERS})
    assert found.label == ["target"]


def test_a_second_spelling_of_the_label_is_no_feature():
    positions = [0, 1] * (N // 2)
    found, sheet = roles({"label": TWO, "class": positions, "x": NUMBERS})
    assert found.inputs == ["x"]
    assert "'class' says the same as the label 'label'" in sheet.notes[-1]
    other = [0, 0, 1] * (N // 3)
    found, _ = roles({"label": TWO, "class": other, "x": NUMBERS})
    assert found.inputs == ["class", "x"]


def test_a_duplicate_of_the_label_column_is_no_feature():
    frame = pd.DataFrame([[1, "a", "a"], [2, "b", "b"]], columns=["x", "label", "label"])
    found, _ = roles(frame)
    assert found.inputs == ["x"]


def test_groups_that_group_nothing_are_left_out():
    found, sheet = roles({"patient_id": range(N), "x": NUMBERS, "label": TWO})
    assert found.group is None and found.inputs == ["x"]
    assert "differs in every row" in sheet.notes[0]


def test_an_index_column_is_no_feature():
    found, _ = roles({"Unnamed: 0": range(N), "x": NUMBERS, "label": TWO})
    assert found.inputs == ["x"] and found.id == "column_1"


def test_split_column():
    found, _ = roles({"split": ["train", "test"] * 6, "x": NUMBERS, "label": TWO})
    assert found.split == "split"
    found, _ = roles({"split": TWO, "x": NUMBERS, "label": TWO})
    assert found.split is None and "split" in found.inputs


@pytest.mark.parametrize(
    ("names", "modality"),
    [(["a.jpg", "b.PNG"], "image"), (["a.wav", "b.flac"], "audio"), (["d\\e.jpg"], "image")],
)
def test_file_columns(names, modality):
    files = [names[i % len(names)] for i in range(N)]
    for column in ("image_path", "whatever"):
        found, _ = roles({column: files, "label": TWO})
        assert (found.modality, found.inputs) == (modality, [column])


def test_given_options_win():
    columns = {"label": TWO, "text": SENTENCES, "body": SENTENCES, "mood": TWO[::-1]}
    found, sheet = roles(columns, label="mood", text="body", domain="label")
    assert (found.label, found.inputs, found.domain) == (["mood"], ["body"], "label")
    assert sheet.understood["label"]["why"] == "given"


def test_none_says_that_there_is_none():
    found, _ = roles({"site": TWO, "label": TWO, "x": NUMBERS}, domain="none", label=False)
    assert found.domain is None and found.label == [] and found.inputs == ["site", "label", "x"]


def test_multilabel_columns():
    found, _ = roles({"a": TWO, "b": TWO, "x": NUMBERS}, label="a, b")
    assert found.label == ["a", "b"] and found.inputs == ["x"]
    found, _ = roles({"a,b": TWO, "x": NUMBERS}, label="a,b")
    assert found.label == ["a,b"]


def test_several_texts_and_features():
    columns = {"title": SENTENCES, "body": SENTENCES, "label": TWO, "x": NUMBERS}
    assert roles(columns, text="title,body")[0].inputs == ["title", "body"]
    assert roles(columns, features="x")[0].inputs == ["x"]
    assert roles(columns, features=["x"], modality="features")[0].modality == "features"


@pytest.mark.parametrize("option", ["label", "domain", "group", "text", "file", "features", "id"])
def test_wrong_names_are_refused_with_the_nearest_one(option):
    with pytest.raises(UsageError, match=rf"no column 'Txet' for --{option}") as caught:
        roles({"text": SENTENCES, "label": TWO}, **{option: "Txet"})
    assert "Did you mean 'text'?" in str(caught.value) and "'label'" in str(caught.value)


def test_absent_columns_may_be_optional():
    found, sheet = roles({"x": NUMBERS}, label="num", optional=("label",))
    assert found.label == [] and "no column 'num'" in sheet.understood["label"]["why"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "text", "file": "text"}, "exclude each other"),
        ({"modality": "audio", "text": "text"}, "contradict"),
        ({"modality": "image"}, "no column holds image files"),
        ({"file": "text"}, "no file names"),
        ({"modality": "imgae"}, "Did you mean 'image'"),
        ({"task": "regresion"}, "Did you mean 'regression'"),
        ({"features": "label", "label": "label", "header": "yes"}, "header must be"),
    ],
)
def test_contradictions(options, message):
    with pytest.raises(UsageError, match=message):
        roles({"text": SENTENCES, "label": TWO}, **options)


def test_nothing_left_to_read():
    with pytest.raises(UsageError, match="no column is left"):
        roles({"label": TWO, "id": range(N)})


def test_canonical_names():
    names = ["Patient ID", "patientId", "patient-id", "PATIENT_ID ", "patient_id (2)"]
    assert {canonical(name) for name in names} == {"patient_id"}


def test_labels_of_floats_beside_text_make_regression_label():
    found, _ = roles({"text": SENTENCES, "how much": NUMBERS})
    assert found.label == ["how much"]


def test_a_handful_of_rows_keeps_its_domain_column():
    found, _ = roles({"site": ["u", "v", "w"], "x": [1, 2, 3]})
    assert found.domain == "site" and found.inputs == ["x"]
    found, _ = roles({"site": [f"s{i}" for i in range(40)], "x": range(40)})
    assert found.domain is None


def test_what_the_source_reads_as_a_feature_is_no_label_of_the_target():
    frame = pd.DataFrame({"rating": [1.5, 2.5, 3.5], "class": ["a", "b", "a"], "x": [1.0, 2, 3]})
    assert read(frame).labels is not None
    named = read(frame, inputs=("rating", "class", "x"))
    assert named.labels is None and list(named.items.frame.columns) == ["rating", "class", "x"]
    absent = read(frame, label="outcome", optional=("label",))
    assert absent.labels is None  # the named one is missing: no other column takes its place
