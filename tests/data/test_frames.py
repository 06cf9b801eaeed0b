from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data import read
from isthmus.errors import DataError, UsageError


@pytest.fixture
def photos(tmp_path):
    """A table with ten file names; the files hold their own names."""
    folder = tmp_path / "data"
    (folder / "img").mkdir(parents=True)
    for i in range(10):
        (folder / "img" / f"{i}.jpg").write_bytes(f"photo {i}".encode())
    names = [f"img/{i}.jpg" for i in range(10)]
    pd.DataFrame({"file": names, "label": ["a", "b"] * 5}).to_csv(folder / "list.csv", index=False)
    return folder


def rewrite(folder, row, name):
    frame = pd.read_csv(folder / "list.csv")
    frame.loc[row, "file"] = name
    frame.to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


def test_files_are_found_beside_the_table(photos):
    samples = read(photos / "list.csv")
    assert samples.modality == "image" and samples.classes == ("a", "b")
    assert samples.ids == tuple(f"img/{i}.jpg" for i in range(10))
    assert samples.items[3] == b"photo 3"
    assert samples.take(np.array([7])).items[0] == b"photo 7"
    assert samples.understood["root"]["value"] == str(photos.resolve())


def test_root_moves_the_files(photos, tmp_path):
    table = rewrite(photos, 0, "img/1.jpg")
    moved = tmp_path / "elsewhere.csv"
    table.rename(moved)
    assert read(moved, root=photos).items[0] == b"photo 1"
    with pytest.raises(DataError, match="does not exist"):
        read(moved)


def test_missing_files_are_set_aside_by_line(photos):
    table = rewrite(photos, 4, "img/none.jpg")
    with pytest.raises(DataError, match=r"list.csv:6: the file 'img/none.jpg' does not exist"):
        read(table)
    samples = read(table, max_bad=0.1)
    assert len(samples) == 9 and samples.seen == 10
    problem = samples.quarantine[0]
    assert (problem.where, problem.label) == ("list.csv:6", "a")
    assert "img/none.jpg" not in samples.ids


@pytest.mark.parametrize("name", ["../secret.jpg", "img/../../secret.jpg", "../../etc/passwd.jpg"])
@pytest.mark.parametrize("max_bad", [0.01, 1.0])
def test_names_that_lead_outside_are_refused_whatever_the_limit(photos, name, max_bad):
    (photos.parent / "secret.jpg").write_bytes(b"secret")
    with pytest.raises(DataError, match="leads outside"):
        read(rewrite(photos, 9, name), max_bad=max_bad)


def test_absolute_names_need_a_root(photos):
    table = rewrite(photos, 2, str(photos / "img" / "5.jpg"))
    with pytest.raises(DataError, match="absolute") as caught:
        read(table)
    assert "list.csv:4" in str(caught.value) and "--root" in str(caught.value)
    assert read(table, root=photos).items[2] == b"photo 5"
    with pytest.raises(DataError, match="leads outside"):
        read(rewrite(photos, 2, "/etc/hostname.jpg"), root=photos)


def test_links_that_lead_outside_are_refused(photos):
    (photos.parent / "secret.jpg").write_bytes(b"secret")
    (photos / "img" / "link.jpg").symlink_to(photos.parent / "secret.jpg")
    with pytest.raises(DataError, match="leads outside"):
        read(rewrite(photos, 0, "img/link.jpg"))
    (photos / "up").symlink_to(photos.parent)
    with pytest.raises(DataError, match="leads outside"):
        read(rewrite(photos, 0, "up/secret.jpg"))
    (photos / "inner.jpg").symlink_to(photos / "img" / "3.jpg")
    assert read(rewrite(photos, 0, "inner.jpg")).items[0] == b"photo 3"


def test_web_addresses_and_empty_names_are_set_aside(photos):
    table = rewrite(rewrite(photos, 0, "https://x.org/a.jpg").parent, 1, None)
    samples = read(table, max_bad=0.5)
    assert [p.where for p in samples.quarantine] == ["list.csv:2", "list.csv:3"]
    assert "web address" in samples.quarantine[0].reason


def test_windows_separators(photos):
    assert read(rewrite(photos, 0, "img\\8.jpg")).items[0] == b"photo 8"


def test_a_file_that_two_rows_name(photos):
    samples = read(rewrite(photos, 0, "img/1.jpg"))
    assert samples.ids[:2] == ("list.csv:2", "list.csv:3")
    assert any("1 rows name a file" in note for note in samples.understood["notes"])


def test_names_without_suffix_need_the_modality(photos):
    for i in range(10):
        (photos / "img" / f"{i}.jpg").rename(photos / "img" / str(i))
    frame = pd.DataFrame({"file": [f"img/{i}" for i in range(10)]})
    frame.to_csv(photos / "list.csv", index=False)
    with pytest.raises(UsageError, match="--modality"):
        read(photos / "list.csv", file="file")
    assert read(photos / "list.csv", file="file", modality="image").items[0] == b"photo 0"


def test_empty_texts_are_set_aside(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('text,label\n"a b c",x\n"",y\n"  ",x\n"d e f",y\n')
    samples = read(path, max_bad=0.5)
    assert [p.where for p in samples.quarantine] == ["t.csv:3", "t.csv:4"]
    assert [samples.items[i] for i in range(2)] == ["a b c", "d e f"]
    assert samples.ids == ("t.csv:2", "t.csv:5") and samples.labels.tolist() == ["x", "y"]


def test_texts_that_look_like_missing_tokens_are_texts(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\nNA,x\nnull,y\nnan,x\n")
    assert [read(path, text="text").items[i] for i in range(3)] == ["NA", "null", "nan"]


def test_several_text_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("title,body,label\nA,long body one,x\n,long body two,y\n")
    items = read(path, text="title,body").items
    assert (items[0], items[1]) == ("A\nlong body one", "long body two")


def test_repeated_texts_with_different_labels_are_noted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\na b c,x\na b c,y\nd e f,x\nd e f,x\n")
    notes = read(path).understood["notes"]
    assert notes == ["2 texts occur again; 1 of them with different labels"]


def test_empty_texts_do_not_occur_again(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('text,more,label\na b c,,x\n,,y\n" ",,x\n,,x\nd e f,,x\nd e f,,x\n')
    assert read(path, text="text", max_bad=1).understood["notes"] == ["1 texts occur again"]
    joined = read(path, text="text,more", max_bad=1)
    assert joined.understood["notes"] == ["1 texts occur again"] and len(joined) == 3


def test_rows_without_any_feature_are_set_aside(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n1,2,x\n?,,y\n3,4,x\n")
    samples = read(path, max_bad=0.5)
    assert [p.where for p in samples.quarantine] == ["t.csv:3"]
    assert samples.quarantine[0].label == "y"
    assert samples.items.frame["a"].tolist() == [1, 3]
    assert samples.classes == ("x",)  # y went with its only row, and the list says so


def test_features_modality_wants_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,c,label\n1,2,u,x\n3,4,v,y\n")
    with pytest.raises(UsageError, match="'c' holds words"):
        read(path, modality="features")
    samples = read(path, modality="features", features="a,b")
    np.testing.assert_array_equal(samples.items.values, [[1, 2], [3, 4]])


def test_missing_tokens_are_recorded(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n1,?,x\nNA,u,y\n3,,x\n")
    assert read(path).understood["missing"]["value"] == {
        "a": {"NA": 1},
        "b": {"?": 1, "empty": 1},
    }


def test_ids(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,text,label\np1,a b c,x\np2,d e f,y\n")
    assert read(path).ids == ("t.csv:2", "t.csv:3")
    assert read(path, id="id").ids == ("p1", "p2")
    path.write_text("id,text,label\np1,a b c,x\np1,d e f,y\n")
    with pytest.raises(DataError, match="'p1'"):
        read(path, id="id")
