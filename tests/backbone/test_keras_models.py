"""The table of Keras applications against Keras itself."""

from __future__ import annotations

import importlib.util
import inspect

import numpy as np
import pytest

if importlib.util.find_spec("keras") is None:  # importing it here would choose its backend
    pytest.skip("needs the extra keras", allow_module_level=True)

from isthmus.backbone import recipes
from isthmus.backbone.keras import keras_on_torch
from isthmus.backbone.keras_models import APPLICATIONS, keras_recipe

keras = keras_on_torch()


def home(name):
    return inspect.getmodule(getattr(keras.applications, name))


def test_the_table_has_every_application():
    made = {n for n in dir(keras.applications) if n[0].isupper()}
    assert made - set(APPLICATIONS) == {"NASNetLarge", "NASNetMobile"}  # not on torch
    assert set(APPLICATIONS) <= made


@pytest.mark.parametrize("name", APPLICATIONS)
def test_scaling_equals_preprocess_input(name):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    module = home(name)
    scale = getattr(module, "preprocess_input")  # noqa: B009
    expected = scale(pixels[None].astype(np.float32).copy())[0]
    recipe = keras_recipe(32, APPLICATIONS[name].mode) | {
        "steps": [{"op": "resize", "size": [9, 7], "interpolation": "nearest"}]
    }
    found = np.moveaxis(recipes.apply(pixels, recipe), 0, -1)
    np.testing.assert_allclose(found, expected, atol=2e-5)


QUICK = ["VGG16", "ResNet50", "ResNet50V2", "DenseNet121", "MobileNet", "MobileNetV2",
         "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0",
         "ConvNeXtTiny", "InceptionV3", "Xception", "InceptionResNetV2"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_file_names_and_sizes_are_those_that_keras_asks_for(name, monkeypatch):
    asked = []

    class Enough(Exception):
        pass

    def get_file(fname=None, *args, **kwargs):
        asked.append(fname)
        raise Enough

    monkeypatch.setattr(home("VGG16").file_utils, "get_file", get_file)
    side = APPLICATIONS[name].side
    with pytest.raises(Enough):
        getattr(keras.applications, name)(
            weights="imagenet", include_top=False, input_shape=(side, side, 3)
        )
    assert asked == [APPLICATIONS[name].file]
