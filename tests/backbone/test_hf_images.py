"""`hf:` image encoders: the recipe against transformers' PIL processors, ViT against its model."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.backbone import hf_modules, load_backbone, recipes
from isthmus.backbone.hf_folder import find
from isthmus.backbone.hf_images import image_recipe
from isthmus.errors import BackboneError, UsageError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("PIL")


def photo(real_data, n=0):
    from isthmus.data.images import decode

    file = sorted((real_data / "blood_cells" / "JPEGImages").glob("*.jpg"))[n]
    return decode(file.read_bytes())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ViT", {"size": {"height": 96, "width": 128}}),
        ("ViT", {"resample": 3, "do_normalize": False}),
        ("CLIP", {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}),
        ("Bit", {"size": {"shortest_edge": 80}, "crop_size": {"height": 70, "width": 66}}),
        ("ConvNext", {"size": {"shortest_edge": 64}, "crop_pct": 0.875}),
        ("ConvNext", {"size": {"shortest_edge": 384}}),
        ("Siglip", {"size": {"height": 64, "width": 64}}),
        ("DeiT", {}),
    ],
)
def test_recipe_is_the_processor(name, options, real_data):
    processor = getattr(transformers, f"{name}ImageProcessorPil")(**options)
    settings = processor.to_dict()
    recipe = image_recipe(settings, where="test")
    pixels = photo(real_data)
    expected = processor(pixels, return_tensors="np")["pixel_values"][0]
    found = recipes.apply(pixels, recipe)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"image_processor_type": "Mask2FormerImageProcessor"},
        {"do_pad": True},
        {"size": {"longest_edge": 100}},
        {"resample": 99},
        {"image_mean": None, "image_std": None},
    ],
)
def test_what_cannot_be_followed_exactly_is_refused(change):
    settings = transformers.ViTImageProcessorPil().to_dict() | change
    settings = {key: value for key, value in settings.items() if value is not None}
    with pytest.raises(BackboneError):
        image_recipe(settings, where="test")


def test_vit_by_folder_is_what_transformers_computes(vit_folder, real_data):
    backbone = load_backbone(f"hf:{vit_folder}", device="cpu")
    assert backbone.modality == "image" and backbone.num_features == 32
    pixels = [photo(real_data, n) for n in range(3)]
    items = [backbone.preprocess(p) for p in pixels]
    found = backbone(np.stack(items))
    processor = transformers.ViTImageProcessorPil.from_pretrained(str(vit_folder))
    transformers.utils.logging.disable_progress_bar()
    model = transformers.ViTModel.from_pretrained(str(vit_folder)).eval()
    transformers.utils.logging.enable_progress_bar()
    with torch.inference_mode():
        batch = processor(pixels, return_tensors="pt")
        expected = model(**batch).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert backbone.engine == "onnxruntime"
    assert load_backbone(**backbone.reference).fingerprint == backbone.fingerprint


def test_poolings_and_layers_of_a_vit(vit_folder):
    model = hf_modules.load_model(find(str(vit_folder)), random=False)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        states = model(images, output_hidden_states=True).hidden_states
        cls = hf_modules.ImageEncoder(model, layer=1, pooling=None)(images)
        mean = hf_modules.ImageEncoder(model, layer=-1, pooling="mean")(images)
    torch.testing.assert_close(cls, states[1][:, 0])
    torch.testing.assert_close(mean, states[-1].mean(1))


def test_a_convolutional_network_is_averaged_over_its_map():
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    model = transformers.ConvNextModel(config).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(images).last_hidden_state.mean((2, 3))
        found = hf_modules.ImageEncoder(model, layer=None, pooling=None)(images)
    torch.testing.assert_close(found, expected)
    with pytest.raises(BackboneError, match="class token"):
        hf_modules.ImageEncoder(model, layer=None, pooling="cls")


def test_the_image_tower_of_a_two_tower_model():
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    tower |= {"num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=tower, vision_config=tower | {"image_size": 32, "patch_size": 16}
    )
    config.projection_dim = 12
    model = transformers.CLIPModel(config).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = hf_modules.ImageEncoder(model, layer=None, pooling=None)(images)
        pooled = model.vision_model(images).pooler_output
        expected = model.visual_projection(pooled)
    torch.testing.assert_close(found, expected)
    with pytest.raises(BackboneError, match="as it was trained"):
        hf_modules.ImageEncoder(model, layer=1, pooling=None)


def test_another_size_than_the_position_table_is_refused(vit_folder):
    with pytest.raises(UsageError, match="32x32"):
        load_backbone(f"hf:{vit_folder}", size=48)
