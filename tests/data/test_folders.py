"""Layouts of folders, real and awkward, and everything that is set aside while reading them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from isthmus.data.folders import read_folder
from isthmus.data.images import decode
from isthmus.errors import DataError, UsageError


def make(root, *names, content=b"x"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def table(samples):
    """Relative path -> (label, domain, split, group)."""
    n = len(samples)
    columns = [samples.labels, samples.domain, samples.split, samples.groups]
    rows = zip(*[[None] * n if c is None else c for c in columns])
    return dict(zip(samples.ids, rows))


def grid(*levels, files=2, suffix=".jpg"):
    names = [""]
    for level in levels:
        names = [f"{name}{part}/" for name in names for part in level]
    return [f"{name}{i}{suffix}" for name in names for i in range(files)]


# ---- real data


def test_sign_digits(real_data):
    samples = read_folder(real_data / "sign_digits")
    assert len(samples) == 2062 == samples.seen and not samples.quarantine
    assert samples.modality == "image" and samples.task == "classification"
    assert samples.classes == tuple("0123456789")
    assert all(label == name[0] for label, name in zip(samples.labels, samples.ids))
    assert samples.domain is None and samples.split is None and samples.groups is None
    assert "LICENSE" in samples.understood["left_out"]["why"]
    assert samples.understood["layout"]["value"] == "class/file"
    assert decode(samples.items[0]).shape == (100, 100, 3)


def test_spoken_digits_are_flat_and_the_pattern_is_only_offered(real_data):
    samples = read_folder(real_data / "spoken_digits")
    assert len(samples) == 900 and samples.modality == "audio"
    assert samples.labels is None and samples.task is None and samples.classes == ()
    assert samples.understood["name_pattern"]["value"] == "{label}_{group}_{take}"
    assert "not used" in samples.understood["name_pattern"]["why"]


def test_spoken_digits_by_a_pattern(real_data):
    samples = read_folder(
        real_data / "spoken_digits", label="{label}_{domain}_{take}", group="*_{group}_*.wav"
    )
    assert samples.classes == tuple("0123456789") and samples.task == "classification"
    assert set(samples.domain) == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    assert np.array_equal(samples.domain, samples.groups)
    for name, (label, domain, _, _) in table(samples).items():
        assert name.startswith(f"{label}_{domain}_")
    assert "name_pattern" not in samples.understood


def test_blood_cells_lie_in_a_holder_folder(real_data):
    samples = read_folder(real_data / "blood_cells")
    assert len(samples) == 364 and samples.labels is None
    assert "Annotations" in samples.understood["empty_folders"]["why"]
    assert samples.understood["left_out"]["value"] == 365  # 364 XML files and the licence


# ---- layouts


def test_class_file(tmp_path):
    names = grid(["cat", "dog", "10", "9"])
    samples = read_folder(make(tmp_path, *names))
    assert samples.classes == ("9", "10", "cat", "dog")
    assert table(samples) == {n: (n.split("/")[0], None, None, None) for n in names}


def test_split_class_file(tmp_path):
    names = grid(["Train", "valid", "TEST"], ["a", "b"])
    samples = read_folder(make(tmp_path, *names))
    short = {"Train": "train", "valid": "val", "TEST": "test"}
    for name, (label, domain, split, _) in table(samples).items():
        top, klass, _ = name.split("/")
        assert (label, domain, split) == (klass, None, short[top])
    assert samples.understood["layout"]["value"] == "split/class/file"
    assert samples.understood["split"]["option"] == "--split"


@pytest.mark.parametrize("word", ["train", "val", "valid", "validation", "test", "dev"])
def test_one_split_alone(tmp_path, word):
    samples = read_folder(make(tmp_path, *grid([word], ["a", "b"])))
    assert samples.classes == ("a", "b") and len(set(samples.split)) == 1


def test_split_file_is_unlabelled(tmp_path):
    samples = read_folder(make(tmp_path, *grid(["train", "test"])))
    assert samples.labels is None and sorted(set(samples.split)) == ["test", "train"]


def test_domain_class_file(tmp_path):
    names = grid(["amazon", "dslr", "webcam"], ["mug", "bike", "pen"])
    samples = read_folder(make(tmp_path, *names))
    for name, row in table(samples).items():
        domain, label, _ = name.split("/")
        assert row == (label, domain, None, None)
    assert samples.understood["domain"]["value"].startswith("3 domains: amazon")


def test_domains_that_share_only_some_classes(tmp_path):
    names = grid(["s"], ["mug", "bike", "pen"]) + grid(["t"], ["mug", "bike", "lamp"])
    samples = read_folder(make(tmp_path, *names))
    assert samples.classes == ("bike", "lamp", "mug", "pen") and set(samples.domain) == {"s", "t"}


@pytest.mark.parametrize("order", ["domain/split/class/file", "split/domain/class/file"])
def test_domain_and_split(tmp_path, order):
    sets = {"domain": ["mnist", "usps"], "split": ["train", "test"], "class": list("012")}
    words = order.split("/")[:-1]
    samples = read_folder(make(tmp_path, *grid(*[sets[w] for w in words])))
    for name, (label, domain, split, _) in table(samples).items():
        parts = dict(zip(words, name.split("/")))
        assert (label, domain, split) == (parts["class"], parts["domain"], parts["split"])
    assert samples.understood["layout"]["value"] == order


def test_class_split_file(tmp_path):
    samples = read_folder(make(tmp_path, *grid(["cat", "dog"], ["train", "test"])))
    assert samples.classes == ("cat", "dog") and set(samples.split) == {"train", "test"}


def test_holder_folders_are_looked_through(tmp_path):
    office = grid(["amazon", "dslr"], ["images"], ["mug", "bike"])
    samples = read_folder(make(tmp_path, *office))
    assert samples.classes == ("bike", "mug") and set(samples.domain) == {"amazon", "dslr"}
    samples = read_folder(make(tmp_path / "deep", *grid(["v1"], ["data"], ["train"], ["a", "b"])))
    assert samples.classes == ("a", "b") and set(samples.split) == {"train"}


def test_folders_below_the_classes(tmp_path):
    names = grid(["cat"], ["s1", "s2"]) + grid(["dog"], ["s3", "s4"])
    samples = read_folder(make(tmp_path, *names))
    assert samples.classes == ("cat", "dog") and samples.domain is None
    assert samples.understood["possible_groups"]["value"] == "*/{group}/*"
    grouped = read_folder(tmp_path, group="*/{group}/*")
    assert set(grouped.groups) == {"s1", "s2", "s3", "s4"}
    assert np.array_equal(grouped.labels, samples.labels)


def test_places_that_do_not_recur_are_no_classes(tmp_path):
    names = grid(["cat"], ["park", "home", "roof"]) + grid(["dog"], ["beach", "sofa", "home"])
    samples = read_folder(make(tmp_path, *names))
    assert samples.classes == ("cat", "dog") and samples.domain is None


def test_people_below_classes_are_not_classes(tmp_path):
    names = grid(["wave", "clap", "jump"], ["subject01", "subject02"])
    samples = read_folder(make(tmp_path, *names))
    assert samples.classes == ("clap", "jump", "wave") and samples.domain is None
    digits = read_folder(make(tmp_path / "d", *grid(["mnist", "usps"], ["0", "1", "2"])))
    assert digits.classes == ("0", "1", "2") and set(digits.domain) == {"mnist", "usps"}


def test_deeper_nesting_keeps_the_class(tmp_path):
    names = ["cat/x/y/z/1.jpg", "cat/2.jpg", "dog/q/3.jpg", "dog/4.jpg"]
    samples = read_folder(make(tmp_path, *names))
    assert [samples.labels[samples.ids.index(n)] for n in names] == ["cat", "cat", "dog", "dog"]


def test_a_class_named_train_is_a_class(tmp_path):
    samples = read_folder(make(tmp_path, *grid(["bus", "car", "train"])))
    assert samples.classes == ("bus", "car", "train") and samples.split is None
    (tmp_path / "b").mkdir()
    both = read_folder(make(tmp_path / "b", *grid(["train", "test", "extra"], ["x", "y"])))
    assert "extra" in both.understood["splits_not_used"]["why"]


def test_flat(tmp_path):
    samples = read_folder(make(tmp_path, "b.png", "a.PNG", "C.JpEg"))
    assert samples.ids == ("C.JpEg", "a.PNG", "b.png") and samples.labels is None
    assert samples.understood["label"] == {
        "value": None,
        "why": "the files lie in no class folders",
        "option": "--label",
    }


def test_loose_files_beside_classes_are_unlabelled_and_noted(tmp_path):
    samples = read_folder(make(tmp_path, *grid(["a", "b"]), "loose.jpg"))
    assert table(samples)["loose.jpg"][0] is None and samples.labelled.sum() == 4
    assert "loose.jpg" in samples.understood["loose_files"]["why"]


# ---- options


def test_none_switches_a_guess_off(tmp_path):
    make(tmp_path, *grid(["amazon", "dslr"], ["mug", "bike"]))
    assert read_folder(tmp_path, label="none").labels is None
    plain = read_folder(tmp_path, domain="none")
    assert plain.domain is None and plain.classes == ("amazon", "dslr")
    make(tmp_path / "s", *grid(["train", "test"]))
    assert read_folder(tmp_path / "s", split="none").classes == ("test", "train")


def test_path_patterns_override_the_layout(tmp_path):
    make(tmp_path, *grid(["cat", "dog"], ["home", "zoo"]))
    samples = read_folder(tmp_path, label="{label}/{domain}/*")
    assert table(samples)["cat/zoo/0.jpg"] == ("cat", "zoo", None, None)


def test_own_option_wins_over_another_options_pattern(tmp_path):
    make(tmp_path, *[f"{i % 2}_{w}_{i}.wav" for i in range(6) for w in ("x", "y")])
    samples = read_folder(tmp_path, label="{label}_{group}_{take}", group="*_*_{group}")
    assert set(samples.groups) == set("012345") and samples.classes == ("0", "1")


def test_names_that_do_not_fit_are_quarantined(tmp_path):
    names = [f"{i % 3}_bob_{i}.wav" for i in range(9)]
    make(tmp_path, *names, "odd.wav", "a_b_c_d.wav")
    samples = read_folder(tmp_path, label="{label}_{group}_{take}")
    assert samples.ids == tuple(sorted(names)) and samples.seen == 11
    assert {p.where for p in samples.quarantine} == {"odd.wav", "a_b_c_d.wav"}
    assert all("does not fit" in p.reason and p.remedy for p in samples.quarantine)
    with pytest.raises(DataError, match="none of 11 recordings"):
        read_folder(tmp_path, label="{label}-{take}")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"label": "speaker"}, "no columns"),
        ({"domain": "{label}_{take}"}, "{domain}"),
        ({"label": "{label}{take}"}, "touch"),
        ({"modality": "text"}, "does not fit a folder"),
        ({"task": "multilabel"}, "one label"),
    ],
)
def test_wrong_options(tmp_path, options, words):
    make(tmp_path, "1_a.wav")
    with pytest.raises(UsageError, match=words):
        read_folder(tmp_path, **options)


def test_regression_reads_folder_names_as_numbers(tmp_path):
    make(tmp_path, "1.5/a.jpg", "-2/b.jpg", "c.jpg")
    samples = read_folder(tmp_path, task="regression")
    assert samples.task == "regression" and samples.classes == ()
    assert np.array_equal(samples.labels, [-2, 1.5, np.nan], equal_nan=True)
    make(tmp_path, "high/d.jpg")
    with pytest.raises(DataError, match=r"not numbers.*high"):
        read_folder(tmp_path, task="regression")


# ---- what is left out and what is set aside


def test_system_and_other_files_are_counted(tmp_path):
    make(
        tmp_path,
        *grid(["a", "b"]),
        ".DS_Store",
        "a/Thumbs.db",
        "a/._0.jpg",
        "__MACOSX/a/0.jpg",
        ".git/x.png",
        "README.md",
        "a/notes.txt",
        "labels.csv",
        "b/noending",
    )
    samples = read_folder(tmp_path)
    assert len(samples) == 4 and not samples.quarantine and samples.seen == 4
    left = samples.understood["left_out"]
    assert left["value"] == 4 and "README.md" in left["why"] and "noending" in left["why"]
    assert samples.understood["hidden"]["value"] == 5


def test_mixed_kinds_need_the_modality(tmp_path):
    make(tmp_path, "a/1.jpg", "a/2.wav", "b/3.jpg", "b/4.flac")
    with pytest.raises(DataError, match=r"2 images and 2 recordings.*--modality"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, modality="image").ids == ("a/1.jpg", "b/3.jpg")
    audio = read_folder(tmp_path, modality="audio")
    assert audio.ids == ("a/2.wav", "b/4.flac") and audio.understood["left_out"]["value"] == 2


def test_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no images or recordings.*no files"):
        read_folder(tmp_path)
    make(tmp_path, "data.zip", "table.csv")
    with pytest.raises(DataError, match=r"1 x .*(zip|csv)"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        read_folder(tmp_path / "data.zip")
    make(tmp_path, "a.jpg")
    with pytest.raises(DataError, match="no recordings"):
        read_folder(tmp_path, modality="audio")


def test_empty_class_folders_are_noted(tmp_path):
    make(tmp_path, *grid(["a", "b"]))
    (tmp_path / "c").mkdir()
    make(tmp_path, "d/0.jpg", content=b"")
    samples = read_folder(tmp_path)
    assert samples.classes == ("a", "b")
    assert samples.understood["empty_folders"]["value"] == 2
    (problem,) = samples.quarantine
    assert (problem.where, problem.label) == ("d/0.jpg", "d") and "empty" in problem.reason
    assert samples.seen == 5


def test_only_empty_files(tmp_path):
    make(tmp_path, "a/0.jpg", content=b"")
    with pytest.raises(DataError, match=r"none of 1 images.*empty"):
        read_folder(tmp_path)


def test_formats_that_are_not_read_are_set_aside_not_ignored(tmp_path):
    make(tmp_path, *grid(["a", "b"]), "a/x.HEIC", "b/y.svg")
    samples = read_folder(tmp_path)
    assert {p.where: p.label for p in samples.quarantine} == {"a/x.HEIC": "a", "b/y.svg": "b"}
    make(tmp_path / "sound", *grid(["a"], suffix=".m4a"))
    with pytest.raises(DataError, match=r"m4a files are not read.*WAV"):
        read_folder(tmp_path / "sound")


def test_classes_that_differ_in_case_are_noted_and_kept(tmp_path):
    samples = read_folder(make(tmp_path, *grid(["Cat", "cat", "dog"])))
    assert samples.classes == ("Cat", "cat", "dog")
    notes = [v["why"] for k, v in samples.understood.items() if k.startswith("label_names")]
    assert any("'Cat'" in note and "'cat'" in note for note in notes)


def test_a_folder_named_like_a_file(tmp_path):
    make(tmp_path, "photo.jpg/1.jpg", "photo.jpg/2.jpg", "other/3.jpg")
    (tmp_path / "other" / "empty.png").mkdir()
    samples = read_folder(tmp_path)
    assert samples.classes == ("other", "photo.jpg") and len(samples) == 3


needs_links = pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links")


@needs_links
def test_links(tmp_path):
    root = make(tmp_path / "data", *grid(["a", "b"]))
    outside = make(tmp_path, "secret.jpg", content=b"secret") / "secret.jpg"
    (root / "a" / "inside.jpg").symlink_to(root / "b" / "0.jpg")
    (root / "a" / "out.jpg").symlink_to(outside)
    (root / "a" / "gone.jpg").symlink_to(root / "nothing.jpg")
    (root / "a" / "self.jpg").symlink_to(root / "a" / "self.jpg")
    (root / "a" / "up").symlink_to(tmp_path)
    (root / "a" / "loop").symlink_to(root)
    (root / "LICENSE").symlink_to("/etc/hostname")
    (root / "c").symlink_to(root / "b")
    samples = read_folder(root)
    assert samples.ids == ("a/0.jpg", "a/1.jpg", "a/inside.jpg", "b/0.jpg", "b/1.jpg")
    reasons = {p.where: p.reason for p in samples.quarantine}
    assert set(reasons) == {"a/out.jpg", "a/gone.jpg", "a/self.jpg", "a/up", "a/loop", "c"}
    assert "leads out" in reasons["a/out.jpg"] and "leads out" in reasons["a/up"]
    assert "nowhere" in reasons["a/gone.jpg"] and "not followed" in reasons["c"]
    assert samples.seen == 11


@needs_links
def test_a_root_that_is_a_link_is_fine(tmp_path):
    make(tmp_path / "real", *grid(["a", "b"]))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    samples = read_folder(tmp_path / "link")
    assert len(samples) == 4 and samples.items[0] == b"x"


@needs_links
def test_a_link_to_a_sibling_with_the_same_beginning_leads_out(tmp_path):
    root = make(tmp_path / "data", "a/0.jpg")
    make(tmp_path / "data2", "x.jpg")
    (root / "a" / "x.jpg").symlink_to(tmp_path / "data2" / "x.jpg")
    assert [p.where for p in read_folder(root).quarantine] == ["a/x.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes_are_never_opened(tmp_path):
    make(tmp_path, *grid(["a"]))
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    (problem,) = read_folder(tmp_path).quarantine
    assert problem.where == "a/pipe.jpg" and "regular" in problem.reason


def test_names_that_are_not_utf8(tmp_path):
    make(tmp_path, *grid(["a", "b"]))
    try:
        (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
        (tmp_path / os.fsdecode(b"caf\xe9/1.jpg")).write_bytes(b"x")
        (tmp_path / os.fsdecode(b"a/\xff.jpg")).write_bytes(b"x")
        (tmp_path / os.fsdecode(b"\xfe.txt")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    samples = read_folder(tmp_path)
    assert len(samples) == 4 and samples.classes == ("a", "b")
    assert {p.where: p.label for p in samples.quarantine} == {
        "caf\\xe9/1.jpg": "caf\\xe9",
        "a/\\xff.jpg": "a",
    }
    str([p.as_dict() for p in samples.quarantine]).encode()
    str(samples.understood).encode()


def test_unicode_compositions_are_one_class(tmp_path):
    make(tmp_path, "caf\u00e9/1.jpg", "cafe\u0301/2.jpg", "tea/3.jpg")
    samples = read_folder(tmp_path)
    assert samples.classes == ("caf\u00e9", "tea") and len(set(samples.ids)) == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_folder_that_may_not_be_read(tmp_path):
    make(tmp_path, *grid(["a", "b"]))
    (tmp_path / "b").chmod(0)
    try:
        samples = read_folder(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)
    assert [p.where for p in samples.quarantine] == ["b/"] and len(samples) == 2


def test_the_order_of_the_file_system_does_not_matter(tmp_path, monkeypatch):
    make(tmp_path, *grid(["a", "b", "c"], files=5), "a/empty.jpg", "z.jpg")
    (tmp_path / "a" / "empty.jpg").write_bytes(b"")
    expected = read_folder(tmp_path)
    real = os.scandir

    class Shuffled:
        def __init__(self, path):
            with real(path) as entries:
                self.entries = list(entries)[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Shuffled)
    again = read_folder(tmp_path)
    assert again.ids == expected.ids and again.understood == expected.understood
    assert again.labels.tolist() == expected.labels.tolist()
    assert again.quarantine == expected.quarantine


def test_a_target_with_fewer_classes_keeps_names(tmp_path):
    samples = read_folder(make(tmp_path, *grid(["9", "10"])))
    assert samples.classes == ("9", "10")
    single = read_folder(make(tmp_path / "one", *grid(["7"])))
    assert single.classes == ("7",) and set(single.labels) == {"7"}
