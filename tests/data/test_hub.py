from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from isthmus.data import read
from isthmus.errors import DataError, UsageError

datasets = pytest.importorskip("datasets")
ClassLabel, Features, Value = datasets.ClassLabel, datasets.Features, datasets.Value
TEXTS = ["one two three", "four five six", "seven eight nine"]


def texts(labels=(1, 0, 1), names=("zoo", "ape")):
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    return datasets.Dataset.from_dict({"text": TEXTS, "label": list(labels)}, features=features)


def png(level):
    buffer = io.BytesIO()
    Pillow.new("RGB", (4, 3), (level, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def images():
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=["cat", "dog"])})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(4)], "label": [0, 1, 1, 0]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_labels_are_names_and_never_positions():
    samples = read(texts())
    assert samples.labels.tolist() == ["ape", "zoo", "ape"]
    assert samples.classes == ("ape", "zoo")  # sorted, not in the order of the positions
    assert samples.modality == "text" and samples.items[1] == TEXTS[1]
    assert samples.ids[2] == "dataset[2]"


def test_minus_one_is_unlabelled():
    assert read(texts(labels=(1, -1, 0))).labels.tolist() == ["ape", None, "zoo"]


def test_images_are_fetched_one_by_one():
    from isthmus.data.images import decode

    samples = read(images())
    assert samples.modality == "image" and samples.labels.tolist() == ["cat", "dog", "dog", "cat"]
    assert decode(samples.items[2])[0, 0].tolist() == [2, 0, 0]
    assert decode(samples.take(np.array([3, 1])).items[1])[0, 0].tolist() == [1, 0, 0]


def test_images_by_path(tmp_path):
    (tmp_path / "a.png").write_bytes(png(9))
    features = Features({"image": datasets.Image(), "label": Value("string")})
    rows = {"image": [str(tmp_path / "a.png")], "label": ["x"]}
    samples = read(datasets.Dataset.from_dict(rows, features=features))
    assert samples.items[0] == png(9)


def test_recordings():
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(80), 8000, format="WAV")
    rows = {"audio": [{"bytes": buffer.getvalue(), "path": None}] * 2, "speaker": ["u", "u"]}
    samples = read(datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio()))
    assert samples.modality == "audio" and samples.groups.tolist() == ["u", "u"]
    assert samples.items[1][:4] == b"RIFF"


def test_splits():
    samples = read(datasets.DatasetDict({"train": texts(), "validation": texts()}))
    assert samples.split.tolist() == ["train"] * 3 + ["val"] * 3
    assert samples.ids[3] == "dataset['validation'][0]"
    data = datasets.DatasetDict({"train": images(), "test": images().select([2])})
    test = read(data, split="test")
    assert len(test) == 1 and test.items[0] == png(2)


def test_lists_of_class_labels():
    kind = datasets.Sequence(ClassLabel(names=["zebra", "ant"]))
    features = Features({"text": Value("string"), "labels": kind})
    rows = {"text": TEXTS, "labels": [[0, 1], [1], []]}
    samples = read(datasets.Dataset.from_dict(rows, features=features))
    assert samples.task == "multilabel" and samples.classes == ("ant", "zebra")
    assert samples.labels.tolist() == [[True, True], [True, False], [False, False]]


def test_a_format_that_is_set_does_not_matter():
    data = images()
    data.set_format("numpy")
    assert read(data).items[1] == png(1)


def test_what_cannot_be_read():
    with pytest.raises(UsageError, match="streaming"):
        read(texts().to_iterable_dataset())
    with pytest.raises(DataError, match="no rows"):
        read(texts().select([]))


def test_parquet_keeps_names_and_images(tmp_path):
    images().to_parquet(tmp_path / "t.parquet")
    samples = read(tmp_path / "t.parquet")
    assert samples.labels.tolist() == ["cat", "dog", "dog", "cat"]
    assert samples.items[3] == png(3) and samples.modality == "image"
    assert samples.take(np.array([2])).items[0] == png(2)


def test_null_images_are_set_aside():
    features = Features({"image": datasets.Image(), "label": Value("string")})
    rows = {"image": [{"bytes": png(1), "path": None}, None], "label": ["x", "y"]}
    samples = read(datasets.Dataset.from_dict(rows, features=features), max_bad=0.5)
    assert samples.labels.tolist() == ["x"] and samples.quarantine[0].where == "dataset[1]"
