"""From what is typed to a backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isthmus.backbone import Backbone, FrameBackbone, load, load_backbone
from isthmus.errors import BackboneError, UsageError


def test_defaults_by_modality():
    image = load_backbone(modality="image")
    assert image.name == "timm:tf_efficientnet_lite0"
    assert (image.modality, image.num_features) == ("image", 1280)
    assert isinstance(image, Backbone)
    assert isinstance(load_backbone(modality="table"), FrameBackbone)
    assert load_backbone(modality="text").modality == "text"
    assert load_backbone(modality="audio").modality == "audio"


@pytest.mark.parametrize("modality", ["image", "text", "audio", "table"])
def test_the_reference_rebuilds_the_same_backbone(modality):
    first = load_backbone(modality=modality)
    second = load_backbone(**first.reference)
    assert second.fingerprint == first.fingerprint and second.name == first.name


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("timm:resnet50", ("timm", "resnet50")),
        ("hf:org/name", ("hf", "org/name")),
        ("hf:C:/models/x", ("hf", "C:/models/x")),
        ("nets/a.onnx", ("onnx", "nets/a.onnx")),
        ("a.KERAS", ("keras", "a.KERAS")),
        ("/x/y.h5", ("keras", "/x/y.h5")),
        ("wakeword", ("wakeword", "")),
    ],
)
def test_what_is_typed(typed, parsed):
    assert load._parse(typed) == parsed


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("resnet50", "timm:resnet50"),
        ("torchvison:vgg16", "did you mean torchvision"),
        ("weights.pth", "--backbone timm:NAME --weights weights.pth"),
        ("torchvision:", "names no model"),
    ],
)
def test_what_cannot_be_meant(typed, named):
    with pytest.raises(UsageError, match=named):
        load_backbone(typed)


def test_paths_objects_and_nonsense(tmp_path):
    with pytest.raises(BackboneError):
        load_backbone(Path(tmp_path / "absent.onnx"))
    made = load_backbone(modality="image")
    assert load_backbone(made) is made
    with pytest.raises(UsageError, match="size cannot be changed"):
        load_backbone(made, size=96)
    with pytest.raises(UsageError, match="int is not a backbone"):
        load_backbone(3)
    with pytest.raises(UsageError, match="modality is unknown"):
        load_backbone()
    with pytest.raises(UsageError, match="unknown modality"):
        load_backbone(modality="video")


def test_a_model_for_other_data_is_refused_at_once():
    with pytest.raises(BackboneError, match="takes image input, the data are text"):
        load_backbone("torchvision:vgg16", modality="text")  # not: its weights are missing
    with pytest.raises(BackboneError, match="takes image input, the data are text"):
        load_backbone("timm:tf_efficientnet_lite0", modality="text")


def test_objects_with_the_right_fields_are_backbones():
    class Own:
        name, modality, num_features, batch_size = "own", "audio", 2, 4
        recipe, fingerprint, reference = {}, "0" * 64, {"custom": True}

        def preprocess(self, raw):
            return np.asarray(raw)

        def __call__(self, batch):
            return np.zeros((len(batch), 2), np.float32)

    own = Own()
    assert load_backbone(own, modality="audio") is own
    with pytest.raises(BackboneError, match="takes audio"):
        load_backbone(own, modality="image")
