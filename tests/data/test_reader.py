from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest

from isthmus.data import Samples, read
from isthmus.errors import DataError, UsageError


def test_reviews(real_data):
    samples = read(real_data / "reviews/sentences.csv")
    with open(real_data / "reviews/sentences.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [samples.items[i] for i in range(3000)] == [row["text"] for row in rows]
    assert samples.labels.tolist() == [row["label"] for row in rows]
    assert samples.domain.tolist() == [row["domain"] for row in rows]
    assert (samples.modality, samples.task, samples.classes) == (
        "text",
        "classification",
        ("0", "1"),
    )
    assert samples.seen == 3000 and samples.quarantine == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: ("﻿" + t).encode(),
        lambda t: t.encode("utf-16"),
        lambda t: t.replace("\n", "\r\n").encode(),
        lambda t: t.encode("cp1252", "replace"),
    ],
)
def test_reviews_in_other_clothes(real_data, tmp_path, change):
    text = (real_data / "reviews/sentences.csv").read_text(encoding="utf-8")
    (tmp_path / "t.csv").write_bytes(change(text))
    samples = read(tmp_path / "t.csv")
    expected = read(real_data / "reviews/sentences.csv")
    assert samples.labels.tolist() == expected.labels.tolist()
    same = np.mean([samples.items[i] == expected.items[i] for i in range(3000)])
    assert same > 0.99  # cp1252 lacks a few characters
    assert len(samples) == 3000


def test_reviews_with_semicolons(real_data, tmp_path):
    frame = pd.read_csv(real_data / "reviews/sentences.csv")
    frame.to_csv(tmp_path / "t.csv", sep=";", index=False, quoting=csv.QUOTE_ALL)
    assert [read(tmp_path / "t.csv").items[i] for i in range(50)] == frame["text"].tolist()[:50]


def test_heart(real_data):
    raw = pd.read_csv(real_data / "heart/heart.csv")
    for options in ({}, {"label": "num"}):
        samples = read(real_data / "heart/heart.csv", **options)
        assert samples.modality == "table" and samples.task == "classification"
        assert samples.labels.tolist() == raw["num"].astype(str).tolist()
        assert samples.classes == tuple("01234")
        assert samples.domain.tolist() == raw["hospital"].tolist()
        assert list(samples.items.frame.columns) == [
            c for c in raw.columns if c not in ("hospital", "num")
        ]
    assert samples.ids[0] == "heart.csv:2" and samples.ids[-1] == "heart.csv:921"
    notes = " ".join(samples.understood["notes"])
    assert "'chol': 172 zeros in a positive column" in notes


def test_heart_with_question_marks(real_data, tmp_path):
    raw = pd.read_csv(real_data / "heart/heart.csv")
    raw.to_csv(tmp_path / "t.csv", index=False, na_rep="?")
    samples = read(tmp_path / "t.csv")
    frame = raw.drop(columns=["hospital", "num"]).astype(float)
    pd.testing.assert_frame_equal(samples.items.frame, frame)
    assert samples.understood["missing"]["value"]["ca"] == {"?": 611}


def test_heart_without_its_label(real_data, tmp_path):
    raw = pd.read_csv(real_data / "heart/heart.csv").drop(columns="num")
    raw.to_csv(tmp_path / "t.csv", index=False)
    samples = read(tmp_path / "t.csv")
    assert samples.labels is None and samples.task is None and len(samples) == 920
    assert samples.items.frame.shape == (920, 13)
    with pytest.raises(UsageError, match="no column 'num'"):
        read(tmp_path / "t.csv", label="num")
    assert read(tmp_path / "t.csv", label="num", optional=("label",)).labels is None


def test_tweets(real_data):
    path = real_data / "sentiment4/tweets_GroundTruth.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    samples = read(path)
    assert len(samples) == 4200 and samples.task == "regression" and samples.modality == "text"
    assert [samples.items[i] for i in range(4200)] == [line.split("\t")[2] for line in lines]
    expected = [float(line.split("\t")[1]) for line in lines]
    np.testing.assert_array_equal(samples.labels, expected)
    assert samples.ids[9] == "tweets_GroundTruth.txt:10"


def test_image_and_audio_folders(real_data):
    samples = read(real_data / "sign_digits")
    assert samples.modality == "image" and len(samples) == 2062
    assert samples.classes == tuple("0123456789")
    spoken = read(real_data / "spoken_digits", label="{label}_{group}_{take}")
    assert spoken.modality == "audio" and len(spoken) == 900 and len(set(spoken.groups)) == 6


def test_bad_share_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(4):
        (tmp_path / "a" / f"{i}.jpg").write_bytes(b"x" if i else b"")
    with pytest.raises(DataError, match="1 of 4 rows"):
        read(tmp_path)
    assert len(read(tmp_path, max_bad=0.25)) == 3


def test_split_of_a_folder(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "0.jpg").write_bytes(b"x")
    assert read(tmp_path, split="test").ids == ("test/a/0.jpg",)


def test_options_that_do_not_fit_a_folder(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="--text does not fit"):
        read(tmp_path, text="a")
    with pytest.raises(UsageError, match="beside a folder"):
        read(tmp_path, label=["x"])


def test_lines_of_text(tmp_path):
    (tmp_path / "t.txt").write_text("first line, with a comma\n\nsecond line\nthird line here\n")
    samples = read(tmp_path / "t.txt")
    assert samples.modality == "text" and samples.items[0] == "first line, with a comma"
    assert samples.ids == ("t.txt:1", "t.txt:3", "t.txt:4") and samples.labels is None


def test_samples_pass_through(real_data):
    samples = read(np.ones((4, 2)), split=None, label=["a", "b"] * 2)
    again = read(samples)
    assert isinstance(again, Samples) and again.ids == samples.ids
    with pytest.raises(UsageError, match="--label cannot change"):
        read(samples, label="x")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("x.xlsx", "CSV"),
        ("x.zip", "Unpack"),
        ("x.pkl", "Pickles"),
        ("x.foo", "Give a folder"),
        ("x", "Give a folder"),
    ],
)
def test_files_of_other_kinds(tmp_path, name, remedy):
    (tmp_path / name).write_bytes(b"abc")
    with pytest.raises(DataError, match=remedy):
        read(tmp_path / name)


def test_a_zip_that_is_called_csv(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(DataError, match="Excel"):
        read(tmp_path / "x.csv")


def test_paths_that_do_not_exist(tmp_path):
    (tmp_path / "reviews.csv").write_text("x")
    with pytest.raises(DataError, match=r"Did you mean .*reviews\.csv"):
        read(tmp_path / "review.csv")
    with pytest.raises(DataError, match="as a list"):
        read("I liked this film very much")


@pytest.mark.parametrize("data", [None, 3, object(), {1, 2}])
def test_things_that_are_no_data(data):
    with pytest.raises(UsageError, match="cannot be read"):
        read(data)


def test_every_guess_has_an_option_of_the_same_name(real_data):
    import inspect

    names = set(inspect.signature(read).parameters)
    for path in ("reviews/sentences.csv", "heart/heart.csv", "digits/usps.npz", "sentiment4"):
        for name, entry in read(real_data / path).understood.items():
            if name == "notes" or not entry["option"]:
                continue
            assert entry["option"].removeprefix("--").replace("-", "_") in names, name


def test_reading_twice_gives_the_same(real_data):
    first, second = (read(real_data / "heart/heart.csv") for _ in range(2))
    pd.testing.assert_frame_equal(first.items.frame, second.items.frame)
    assert first.understood == second.understood and first.ids == second.ids


def test_a_long_table_is_read_whole(tmp_path):
    rng = np.random.default_rng(0)
    n = 50_000
    frame = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    frame["label"] = rng.choice(["x", "y"], n)
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False)
    lines = buffer.getvalue().splitlines()
    lines[30_000] += ",extra"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    samples = read(tmp_path / "t.csv")
    assert len(samples) == n - 1 and samples.quarantine[0].where == "t.csv:30001"
    expected = frame.drop(index=29_999).reset_index(drop=True)
    pd.testing.assert_frame_equal(samples.items.frame, expected[list("abcd")])
    assert samples.labels.tolist() == expected["label"].tolist()
    assert samples.ids[30_000] == "t.csv:30003"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet", ".npz"])
def test_damaged_files_are_read_or_refused_but_never_crash(real_data, tmp_path, suffix):
    """Flipped, cut and repeated bytes: `Samples` or a named refusal, nothing else."""
    from isthmus.errors import IsthmusError

    frame = pd.read_csv(real_data / "heart/heart.csv").head(40)
    frame["memo"] = 'says "so", ünd more'
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".npz":
        np.savez(path, X=frame[["age", "sex"]].to_numpy(), y=frame["num"].to_numpy())
    elif suffix.startswith(".json"):
        frame.to_json(path, orient="records", lines=suffix == ".jsonl")
    else:
        frame.to_csv(path, sep="," if suffix == ".csv" else "\t", index=False)
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for trial in range(30):
        data = bytearray(raw)
        if trial % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        for at in rng.integers(0, max(len(data), 1), size=1 + trial % 9).tolist():
            if at < len(data):
                data[at] = int(rng.choice([0, 10, 13, 34, 44, 92, 128, 255, rng.integers(256)]))
        path.write_bytes(bytes(data))
        try:
            samples = read(path, max_bad=1)
            assert samples.seen == len(samples) + len(samples.quarantine)
            outcomes.add("read")
        except IsthmusError as error:
            assert str(error)
            outcomes.add("refused")
    assert outcomes
