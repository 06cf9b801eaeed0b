"""torchvision models: the classic networks, at their own size, features before the classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isthmus.backbone import load_backbone, recipes
from isthmus.backbone import torchvision as leaf
from isthmus.errors import BackboneError, LicenseError, UsageError


def picture():
    y, x = np.mgrid[0:260, 0:350]
    return np.stack([(x * y) // 97 % 256, (3 * x + 2 * y) % 256, y % 256], -1).astype(np.uint8)


def in_torch(backbone, *pictures):
    from isthmus.backbone.networks import Normalised

    batch = np.stack([backbone.preprocess(p) for p in pictures])
    with torch.no_grad():
        network = Normalised(backbone.build(), backbone.recipe).eval()
        return network(torch.from_numpy(batch)).numpy()


def inputs(backbone):
    return torch.from_numpy(recipes.apply(picture(), backbone.recipe)[None])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "side", "width"),
    [("vgg16", 64, 64, 512), ("resnet50", 64, 64, 2048), ("inception_v3", None, 299, 2048)],
)
def test_classic_networks_run_end_to_end(name, size, side, width, private_cache):
    from isthmus.backbone.runtime import record_path

    backbone = load_backbone(f"torchvision:{name}", weights="random", size=size)
    batch = np.stack([backbone.preprocess(picture()), backbone.preprocess(picture()[::-1].copy())])
    assert batch.shape == (2, side, side, 3)
    assert backbone.engine == "onnxruntime"
    found = backbone(batch)
    assert found.shape == (2, width) and backbone.num_features == width
    expected = in_torch(backbone, picture())[0]
    assert np.abs(found[0] - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.array_equal(backbone(batch[::-1])[::-1], found)
    file = record_path(backbone.fingerprint).with_suffix(".onnx")
    if name == "vgg16":  # 15 of its 138 million weights: the classifier is left out
        assert file.stat().st_size < 60e6
    file.unlink()


@pytest.mark.slow
def test_vgg_features_are_the_averaged_maps_and_flatten_gives_all():
    model = leaf._create("vgg11", 224).eval()
    avg = load_backbone("torchvision:vgg11", weights="random", size=64)
    with torch.no_grad():
        maps = model.avgpool(model.features(inputs(avg))).numpy()
        second = model.classifier[:4](torch.from_numpy(maps).flatten(1)).numpy()
    np.testing.assert_allclose(in_torch(avg, picture()), maps.mean((2, 3)), atol=1e-5)
    flat = load_backbone("torchvision:vgg11", weights="random", size=64, pooling="flatten")
    assert flat.num_features == 25088
    np.testing.assert_allclose(in_torch(flat, picture()), maps.reshape(1, -1), atol=1e-5)
    inner = load_backbone("torchvision:vgg11", weights="random", size=64, layer="classifier.3")
    np.testing.assert_allclose(in_torch(inner, picture()), second, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 512),
        ("mobilenet_v3_small", 1024),
        ("densenet121", 1024),
        ("squeezenet1_1", 512),
    ],
)
def test_features_are_what_the_last_linear_layer_sees(name, width):
    backbone = load_backbone(f"torchvision:{name}", weights="random", size=96)
    assert backbone.num_features == width
    found = in_torch(backbone, picture())
    model = leaf._create(name, 96).eval()
    with torch.no_grad():
        whole = model(inputs(backbone)).numpy()
        if name == "squeezenet1_1":
            expected = model.features(inputs(backbone)).mean((2, 3)).numpy()
            np.testing.assert_allclose(found, expected, atol=1e-5)
        else:
            last = model.get_submodule(leaf._head(name, model))
            np.testing.assert_allclose(last(torch.from_numpy(found)), whole, atol=1e-4)


def test_inception_without_auxiliary_classifier_and_at_299(tmp_path):
    model = leaf._create("inception_v3", 299)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(("Aux", "fc."))}
    file = tmp_path / "mine.pth"
    torch.save(state, file)
    backbone = load_backbone("torchvision:inception_v3", weights=file)
    assert backbone.preprocess(picture()).shape == (299, 299, 3)
    model.eval().fc = torch.nn.Identity()
    with torch.no_grad():
        expected = model(inputs(backbone)).numpy()
    assert model.transform_input  # as the published weights were evaluated
    np.testing.assert_allclose(in_torch(backbone, picture()), expected, atol=1e-5)


def test_a_layer_with_pooling():
    model = leaf._create("resnet18", 96).eval()
    backbone = load_backbone(
        "torchvision:resnet18", weights="random", size=96, layer="layer3", pooling="max"
    )
    with torch.no_grad():
        x = model.maxpool(model.relu(model.bn1(model.conv1(inputs(backbone)))))
        expected = model.layer3(model.layer2(model.layer1(x))).amax((2, 3)).numpy()
    np.testing.assert_allclose(in_torch(backbone, picture()), expected, atol=1e-5)
    with pytest.raises(UsageError, match="--layer layer4"):
        load_backbone("torchvision:resnet18", weights="random", pooling="max")


def test_cached_weights_choose_their_own_recipe(tmp_path, monkeypatch):
    """Two sets of weights, two recipes: what lies in the cache decides, and the name says it."""
    file = tmp_path / "resnet18.pth"
    torch.save(leaf._create("resnet18", 224).state_dict(), file)
    monkeypatch.setattr(
        leaf, "cached_torch_file", lambda url: file if "resnet50" not in url else None
    )
    backbone = load_backbone("torchvision:resnet18")
    assert backbone.reference == {"spec": "torchvision:resnet18.IMAGENET1K_V1"}
    assert backbone.licence == "bsd-3-clause"
    assert load_backbone(**backbone.reference).fingerprint == backbone.fingerprint
    monkeypatch.setattr(leaf, "cached_torch_file", lambda url: file if "0676ba61" in url else None)
    member, found = leaf._choose("resnet50", "", leaf._members("resnet50"), None)
    assert member.name == "IMAGENET1K_V1" and found == file
    with pytest.raises(BackboneError, match="resnet50-11ad3fa6"):
        leaf._choose("resnet50", "imagenet1k_v2", leaf._members("resnet50"), None)


def test_refusals():
    with pytest.raises(BackboneError, match="did you mean vgg16"):
        load_backbone("torchvision:vgg-16")
    with pytest.raises(BackboneError, match=r"vgg16-397923af\.pth.*--weights FILE"):
        load_backbone("torchvision:vgg16")
    with pytest.raises(BackboneError, match="IMAGENET1K_V1"):
        load_backbone("torchvision:resnet18.V9")
    with pytest.raises(BackboneError, match="does not exist"):
        load_backbone("torchvision:resnet18", weights="absent.pth")


def test_weights_for_research_only_need_consent(monkeypatch, tmp_path):
    monkeypatch.setattr(leaf, "cached_torch_file", lambda url: tmp_path / "x.pth")
    with pytest.raises(LicenseError, match="cc-by-nc"):
        load_backbone("torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1")
