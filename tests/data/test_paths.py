"""Patterns of file names and the meaning of folder levels, without a file system."""

from __future__ import annotations

import pytest

from isthmus.data.paths import assign, compile_options, name_hint, parents, understand
from isthmus.errors import UsageError

NO_OPTIONS = {"label": None, "domain": None, "split": None, "group": None}


def read(text, name):
    pattern = compile_options({"label": text}, frozenset({".wav"}))["label"]
    return pattern.read(name)


@pytest.mark.parametrize(
    "text, name, fields",
    [
        ("{label}_{who}_{take}", "3_bob_12.wav", {"label": "3", "who": "bob", "take": "12"}),
        ("{label}_{who}_{take}", "x/y/3_bob_12.wav", {"label": "3", "who": "bob", "take": "12"}),
        ("{label}_{who}_{take}", "3_bob_12_1.wav", None),
        ("{label}_{who}_{take}", "3__12.wav", None),
        ("{label}_*", "3_bob_12.wav", {"label": "3"}),
        ("{label}.{n}", "cat.17.wav", {"label": "cat", "n": "17"}),
        ("{label}/*", "cat/17.wav", {"label": "cat"}),
        ("{label}/*", "a/cat/17.wav", None),
        ("*/{label}/*", "a/cat/17.wav", {"label": "cat"}),
        ("{label}/{label}_{n}", "cat/cat_1.wav", {"label": "cat", "n": "1"}),
        ("{label}/{label}_{n}", "cat/dog_1.wav", None),
        ("(.+)+{label}", "(.+)+x.wav", {"label": "x"}),
        ("{label}-{n}.WAV", "up-1.wav", {"label": "up", "n": "1"}),
    ],
)
def test_patterns(text, name, fields):
    assert read(text, name) == fields


def test_patterns_must_hold_their_own_field():
    for role in NO_OPTIONS:
        with pytest.raises(UsageError, match=f"--{role}"):
            compile_options({role: "{other}_*"}, frozenset())


def test_levels_without_files_on_disk():
    names = [f"{d}/{s}/{c}/1.jpg" for d in "AB" for s in ("train", "dev") for c in "xyz"]
    roles = understand(names, NO_OPTIONS)
    assert roles.levels == {"domain": 0, "split": 1, "label": 2}
    assert roles.layout == "domain/split/class/file"
    values, strays = assign(names, roles, NO_OPTIONS)
    assert not strays and values["split"][:2] == ["train", "train"]
    assert set(values["split"]) == {"train", "val"} and set(values["label"]) == set("xyz")


def test_names_of_shallow_files_stay_open():
    roles = understand(["a/1.jpg", "b/1.jpg", "1.jpg"], NO_OPTIONS)
    values, _ = assign(["a/1.jpg", "1.jpg"], roles, NO_OPTIONS)
    assert values["label"] == ["a", None]


def test_parents():
    assert list(parents("a/b/c.jpg")) == ["a/b", "a"] and list(parents("c.jpg")) == []


def test_name_hint_needs_a_part_that_can_be_a_label():
    spoken = [f"{i % 3}-{'ab'[i % 2]}-{i}.wav" for i in range(30)]
    assert name_hint(spoken, NO_OPTIONS)[0] == "{label}-{group}-{take}"
    assert name_hint([f"cat.{i}.jpg" for i in range(20)], NO_OPTIONS) is None
    kaggle = [f"{'cat' if i % 2 else 'dog'}.{i}.jpg" for i in range(20)]
    assert name_hint(kaggle, NO_OPTIONS)[0] == "{label}.{take}"
    assert name_hint([f"IMG_{i:04d}.jpg" for i in range(50)], NO_OPTIONS) is None
    assert name_hint(spoken[:5], NO_OPTIONS) is None
    assert name_hint([f"d/{name}" for name in spoken], NO_OPTIONS) is None
