from __future__ import annotations

import pytest

from isthmus.data import read
from isthmus.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "img").mkdir()
    for i in range(4):
        (tmp_path / "img" / f"{i}.jpg").write_bytes(b"%d" % i)
    return tmp_path


def test_a_table_beside_the_files_that_it_names(folder):
    (folder / "metadata.csv").write_text(
        "file_name,label,patient\nimg/2.jpg,a,p\nimg/0.jpg,b,p\nimg/1.jpg,a,q\n"
    )
    (folder / "README.txt").write_text("not a table")
    samples = read(folder)
    assert samples.ids == ("img/2.jpg", "img/0.jpg", "img/1.jpg")
    assert samples.labels.tolist() == ["a", "b", "a"] and samples.groups.tolist() == list("ppq")
    assert samples.items[0] == b"2"
    assert samples.understood["notes"][-1].startswith("1 media files are not named in the table")
    assert samples.origin == str(folder)


def test_a_table_that_names_no_files_does_not_describe_the_folder(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
    for i in range(4):
        (folder / "img" / f"{i}.jpg").rename(folder / "ab"[i % 2] / f"{i}.jpg")
    (folder / "img").rmdir()
    (folder / "prices.csv").write_text("x,y\n1,2\n")
    samples = read(folder)
    assert samples.labels.tolist() == ["a", "a", "b", "b"]


def test_two_tables_are_splits(folder):
    (folder / "train.csv").write_text("file,label\nimg/0.jpg,a\nimg/1.jpg,b\n")
    (folder / "test.csv").write_text("file,label\nimg/2.jpg,a\nimg/3.jpg,b\n")
    samples = read(folder)
    assert dict(zip(samples.ids, samples.split)) == {
        "img/0.jpg": "train",
        "img/1.jpg": "train",
        "img/2.jpg": "test",
        "img/3.jpg": "test",
    }
    assert read(folder, split="test").ids == ("img/2.jpg", "img/3.jpg")


def test_hostile_table_in_a_folder(folder):
    (folder / "list.csv").write_text("file,label\nimg/0.jpg,a\n../../../etc/passwd.jpg,b\n")
    with pytest.raises(DataError, match="leads outside"):
        read(folder)


def test_tables_alone(tmp_path):
    for name in ("north", "south"):
        (tmp_path / f"{name}_2020.csv").write_text("x,label\n1,a\n2,b\n")
    samples = read(tmp_path)
    assert samples.domain.tolist() == ["north"] * 2 + ["south"] * 2
    assert samples.ids[2] == "south_2020.csv:2"
    (tmp_path / "west_2020.csv").write_text("x,z,label\n1,2,a\n")
    with pytest.raises(DataError, match="different columns"):
        read(tmp_path)


def test_a_domain_column_wins_over_file_names(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("x,place,label\n1,u,a\n2,v,b\n")
    assert read(tmp_path, domain="place").domain.tolist() == ["u", "v"] * 2


def test_sentiment_folder(real_data):
    samples = read(real_data / "sentiment4")
    assert samples.modality == "text" and samples.task == "regression"
    counts = {name: int((samples.domain == name).sum()) for name in set(samples.domain)}
    assert counts == {
        "tweets": 4200,
        "amazonReviewSnippets": 3708,
        "movieReviewSnippets": 10605,
        "nytEditorialSnippets": 5190,
    }
    assert len(samples) == sum(counts.values()) and not samples.quarantine
