"""What image backbones share: the fingerprint, the probe, the promise about shapes."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.backbone import image, recipes
from isthmus.errors import BackboneError

PARTS = {
    "family": "timm:x",
    "weights": "0" * 64,
    "recipe": recipes.eval_recipe(224),
    "layer": None,
    "pooling": None,
    "device": "cpu",
}


def test_every_part_enters_the_fingerprint():
    changes = [
        {"family": "timm:y"},
        {"weights": "1" * 64},
        {"recipe": recipes.eval_recipe(224, interpolation="bilinear")},
        {"recipe": recipes.eval_recipe(224, crop_pct=0.9)},
        {"recipe": recipes.eval_recipe(192)},
        {"recipe": recipes.eval_recipe(224, mean=(0.5,) * 3)},
        {"recipe": recipes.eval_recipe(224) | {"channels": "BGR"}},
        {"recipe": recipes.eval_recipe(224) | {"scale": 1.0}},
        {"layer": "blocks.1"},
        {"pooling": "max"},
        {"device": "cuda"},
    ]
    marks = {image.fingerprint(**PARTS), *(image.fingerprint(**(PARTS | c)) for c in changes)}
    assert len(marks) == len(changes) + 1
    assert image.fingerprint(**(PARTS | {"device": "cpu"})) == image.fingerprint(**PARTS)


def test_the_code_version_enters_too(monkeypatch):
    before = image.fingerprint(**PARTS)
    monkeypatch.setattr(image, "CODE_VERSION", image.CODE_VERSION + 1)
    assert image.fingerprint(**PARTS) != before


def test_the_probe_is_always_the_same_and_uses_the_whole_range():
    one, two = image.probe((32, 48)), image.probe((32, 48))
    assert np.array_equal(one, two) and one.shape == (2, 32, 48, 3) and one.dtype == np.uint8
    assert (one.min(), one.max()) == (0, 255) and not np.array_equal(one[0], one[1])


def test_a_network_that_breaks_its_promise_is_named(tmp_path, monkeypatch):
    from torch import nn

    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    made = image.make(
        lambda: nn.Flatten(), name="timm:x", family="timm:x", weights="0" * 64, layer=None,
        pooling=None, device="cpu", reference={}, recipe=recipes.eval_recipe(8), width=5,
    )  # fmt: skip
    with pytest.raises(BackboneError, match=r"timm:x.*\(1, 192\) for \(1, 5\)"):
        made(np.zeros((1, 8, 8, 3), np.uint8))


def test_references_hold_only_what_was_set():
    assert image.reference("timm:x", size=None, allow_license=False) == {"spec": "timm:x"}
    assert image.reference("timm:x", size=96, layer="a")["size"] == 96
