"""Preprocessing: equal to the libraries whose weights it serves."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from isthmus.backbone import recipes
from isthmus.errors import BackboneError, DataError

SIZES = [(227, 227), (100, 100), (300, 201), (201, 300), (480, 640), (513, 256), (64, 1000), (9, 9)]


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture
def horizontal_first(monkeypatch):
    """Pillow 13 picks the order of its two passes by cost, older ones went along rows first; the
    references are made to do what the weights saw when they were trained and evaluated."""
    resize = Image.Image.resize

    def fixed(self, size, resample=None, box=None, reducing_gap=None):
        if resample in (None, 0) or box is not None:
            return resize(self, size, resample, box, reducing_gap)
        return resize(resize(self, (size[0], self.height), resample), tuple(size), resample)

    monkeypatch.setattr(Image.Image, "resize", fixed)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest", "lanczos"])
def test_equal_to_timms_evaluation_transform(mode, interpolation, horizontal_first):
    from timm.data import create_transform

    for side in ((224, 224), (224, 160)):
        for crop_pct in (0.875, 1.0):
            given = {"crop_pct": crop_pct, "crop_mode": mode, "interpolation": interpolation}
            theirs = create_transform(
                input_size=(3, *side),
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
                **given,
            )
            ours = recipes.eval_recipe(side, **given)
            for size in SIZES:
                pixels = noise(size)
                expected = theirs(Image.fromarray(pixels)).numpy()
                found = recipes.apply(pixels, ours)
                assert found.shape == expected.shape
                assert np.abs(found - expected).max() <= 1e-6, (side, crop_pct, size)


def test_equal_to_timm_as_installed_for_landscape_and_square_pictures():
    """Without the fixture: where height shrinks no more than width every Pillow agrees."""
    from timm.data import create_transform

    theirs = create_transform(input_size=(3, 224, 224), interpolation="bicubic", crop_pct=0.875)
    for size in [(227, 227), (480, 640), (100, 130)]:
        pixels = noise(size)
        expected = theirs(Image.fromarray(pixels)).numpy()
        assert np.abs(recipes.apply(pixels, recipes.eval_recipe(224)) - expected).max() <= 1e-6


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3", "vit_h_14", "swin_v2_t"])
def test_equal_to_torchvision_presets(name, horizontal_first):
    from torchvision import models

    from isthmus.backbone.torchvision import preset_recipe

    for member in models.get_model_weights(name):
        preset = member.transforms()
        recipe = preset_recipe(preset)
        for size in SIZES[:6]:
            pixels = noise(size)
            expected = preset(Image.fromarray(pixels)).numpy()
            # VGG's FEATURES set divides by 1/255: values to 150, so 1e-6 of the range
            limit = 1e-6 * max(1.0, np.abs(expected).max())
            assert np.abs(recipes.apply(pixels, recipe) - expected).max() <= limit


@pytest.mark.parametrize("name", ["ViTImageProcessorPil", "CLIPImageProcessorPil"])
def test_equal_to_transformers_processors(name, horizontal_first):
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, name)()
    if name.startswith("ViT"):
        steps = [{"op": "resize", "size": [224, 224], "interpolation": "bilinear"}]
    else:
        steps = [
            {"op": "resize_shortest", "size": 224, "interpolation": "bicubic"},
            {"op": "center_crop", "size": [224, 224], "rounding": "floor"},
        ]
    recipe = recipes.recipe(steps, mean=processor.image_mean, std=processor.image_std)
    for size in SIZES[:6]:
        pixels = noise(size)
        expected = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
        assert np.abs(recipes.apply(pixels, recipe) - expected).max() <= 1e-6, size


def test_dropping_pixels_early_changes_nothing(horizontal_first):
    """The computed box gives the bytes of resize-everything-then-crop, or is not used."""
    used = 0
    for height in range(20, 700, 7):
        used += recipes._span(height, 256, 224, "even") is not None
        pixels = noise((height, 256 + height % 5))
        recipe = recipes.eval_recipe(224)
        short = min(pixels.shape[:2])
        new = [int(256 * side / short) if side != short else 256 for side in pixels.shape[:2]]
        full = np.asarray(
            Image.fromarray(pixels).resize((new[1], new[0]), Image.Resampling.BICUBIC)
        )
        top, left = round((new[0] - 224) / 2), round((new[1] - 224) / 2)
        plain = full[top : top + 224, left : left + 224]
        assert np.array_equal(recipes.prepare(pixels, recipe), plain), pixels.shape
    assert used > 50


def test_normalise_is_the_formula():
    pixels = noise((5, 4))
    recipe = recipes.recipe(
        [{"op": "resize", "size": [5, 4], "interpolation": "nearest"}],
        scale=0.5, mean=(1, 2, 3), std=(4, 5, 6), channels="BGR",
    )  # fmt: skip
    found = recipes.apply(pixels, recipe)
    blue = (pixels[..., 2] * 0.5 - 1) / 4
    red = (pixels[..., 0] * 0.5 - 3) / 6
    np.testing.assert_allclose(found[0], blue, rtol=1e-6)
    np.testing.assert_allclose(found[2], red, rtol=1e-6)
    assert found.dtype == np.float32 and found.flags.c_contiguous


def test_with_size_keeps_the_ratio_of_resize_and_crop():
    small = recipes.with_size(recipes.eval_recipe(224), 112)
    assert small["steps"][0]["size"] == 128 and small["steps"][1]["size"] == [112, 112]
    squash = recipes.with_size(recipes.eval_recipe(224, crop_mode="squash"), 448)
    assert squash["steps"][0]["size"] == [512, 512]
    assert recipes.output_size(squash) == (448, 448)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"std": [0.0, 1.0, 1.0]}, "positive"),
        ({"scale": float("nan")}, "finite"),
        ({"channels": "GBR"}, "RGB"),
        ({"steps": []}, "last step"),
        ({"steps": [{"op": "resize", "size": [0, 3], "interpolation": "box"}]}, "size"),
        ({"steps": [{"op": "resize", "size": [9, 9], "interpolation": "cubic"}]}, "bicubic"),
        ({"steps": [{"op": "zoom", "size": [9, 9]}]}, "zoom"),
        ({"steps": [{"op": "center_crop", "size": [10**6, 9]}]}, "8192"),
    ],
)
def test_bad_recipes_are_refused(change, named):
    recipe = recipes.eval_recipe(224) | change
    with pytest.raises(BackboneError, match=named):
        recipes.check(recipe)


def test_only_8_bit_rgb_is_prepared():
    recipe = recipes.eval_recipe(224)
    for bad in (noise((8, 8)).astype(np.float32), noise((8, 8))[..., 0], np.zeros((0, 4, 3), "u1")):
        with pytest.raises(DataError, match="8-bit RGB"):
            recipes.prepare(bad, recipe)
    with pytest.raises(DataError, match="strip"):
        recipes.prepare(np.zeros((1, 5000, 3), np.uint8), recipe)
