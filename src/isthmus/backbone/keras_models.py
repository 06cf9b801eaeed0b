"""Layer 2: what is known of the models in ``keras.applications``: input, scaling, weights file.

Scaling modes, as `keras.applications.imagenet_utils` names them: ``caffe`` BGR minus the mean
colour, 0..255; ``tf`` -1..1; ``torch`` 0..1 then ImageNet mean and deviation; ``none`` 0..255,
because the model scales inside. Pictures are squashed to the square input (bilinear), as Keras
users do with ``load_img(target_size=...)``.
"""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.backbone import recipes

MODES = ("caffe", "tf", "torch", "none", "unit")  # unit: 0..1


@dataclass(frozen=True)
class Application:
    """Input side in pixels, scaling mode and name of the file without classifier weights."""

    side: int
    mode: str
    file: str


def _table() -> dict[str, Application]:
    kernels = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
    rows: dict[str, Application] = {}
    for name in ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"):
        rows[name] = Application(224, "caffe", name.lower() + kernels)
    for name in ("ResNet50V2", "ResNet101V2", "ResNet152V2"):
        rows[name] = Application(224, "tf", name.lower() + kernels)
    for name in ("DenseNet121", "DenseNet169", "DenseNet201"):
        rows[name] = Application(224, "torch", name.lower() + kernels)
    rows["InceptionV3"] = Application(299, "tf", "inception_v3" + kernels)
    rows["Xception"] = Application(299, "tf", "xception" + kernels)
    rows["InceptionResNetV2"] = Application(299, "tf", "inception_resnet_v2" + kernels)
    rows["MobileNet"] = Application(224, "tf", "mobilenet_1_0_224_tf_no_top.h5")
    rows["MobileNetV2"] = Application(
        224, "tf", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    )
    for size in ("Small", "Large"):
        file = f"weights_mobilenet_v3_{size.lower()}_224_1.0_float_no_top_v2.h5"
        rows[f"MobileNetV3{size}"] = Application(224, "none", file)
    # NASNet is missing: Keras itself refuses it on torch.
    for number, side in enumerate((224, 240, 260, 300, 380, 456, 528, 600)):
        name = f"EfficientNetB{number}"
        rows[name] = Application(side, "none", f"{name.lower()}_notop.h5")
    sides = {"B0": 224, "B1": 240, "B2": 260, "B3": 300, "S": 384, "M": 480, "L": 480}
    for size, side in sides.items():
        file = f"efficientnetv2-{size.lower()}_notop.h5"
        rows[f"EfficientNetV2{size}"] = Application(side, "none", file)
    for size in ("Tiny", "Small", "Base", "Large", "XLarge"):
        rows[f"ConvNeXt{size}"] = Application(224, "none", f"convnext_{size.lower()}_notop.h5")
    return rows


APPLICATIONS = _table()


def keras_recipe(side: int, mode: str) -> recipes.Recipe:
    """Squash to a square, then scale by mode."""
    steps = [{"op": "resize", "size": [side, side], "interpolation": "bilinear"}]
    if mode == "caffe":
        mean = (103.939, 116.779, 123.68)
        return recipes.recipe(steps, scale=1.0, mean=mean, channels="BGR")
    if mode == "tf":
        return recipes.recipe(steps, scale=1 / 127.5, mean=(1.0, 1.0, 1.0))
    if mode == "torch":
        return recipes.recipe(steps, mean=recipes.IMAGENET_MEAN, std=recipes.IMAGENET_STD)
    return recipes.recipe(steps, scale=1.0 if mode == "none" else 1 / 255)
