"""Layer 2: Hugging Face image encoders (ViT, DINOv2, ConvNeXT, CLIP's image tower, ...).

The preprocessor's settings become one of our own recipes, so images are prepared without
transformers and exactly as its PIL processors do.
"""

from __future__ import annotations

import re
from typing import Any

from isthmus import iofs
from isthmus.backbone import image, recipes
from isthmus.backbone.hf_folder import ModelFolder
from isthmus.errors import BackboneError, UsageError

CODE = 1  # raise it whenever the same folder would give other features
# Processors that resize, crop, rescale and normalise and do nothing else, with what they assume
# where a file leaves it out: (resample, an integer size is a square).
_PLAIN = {
    "Beit": (3, True),
    "Bit": (3, False),
    "CLIP": (3, False),
    "ConvNext": (3, False),
    "DeiT": (3, True),
    "Siglip": (3, True),
    "ViT": (2, True),
}
_RESAMPLE = {code: name for name, code in recipes.INTERPOLATIONS.items()}


def image_recipe(settings: dict[str, Any], *, where: str) -> recipes.Recipe:
    """Our recipe for the settings in ``preprocessor_config.json``.

    Raises
    ------
    BackboneError
        If the processor does more than resize, crop, rescale and normalise.
    """
    named = str(settings.get("image_processor_type") or settings.get("feature_extractor_type"))
    kind = re.sub(r"(FeatureExtractor|ImageProcessor(Fast|Pil)?)$", "", named)

    def refuse(why: str) -> BackboneError:
        return BackboneError(
            "the image processor cannot be followed exactly",
            where=where,
            why=why,
            remedy=f"Known are {', '.join(_PLAIN)}; timm: and torchvision: models need no file",
        )

    if kind not in _PLAIN:
        raise refuse(f"it is {named}")
    if settings.get("do_pad") or settings.get("do_reduce_labels"):
        raise refuse("it pads images or changes labels")
    resample, square = _PLAIN[kind]
    code = settings.get("resample", resample)
    if code not in _RESAMPLE:
        raise refuse(f"resample {code!r} is unknown")
    interpolation = _RESAMPLE[code]
    steps: list[dict[str, Any]] = []
    if settings.get("do_resize", True):
        size = settings.get("size", {"height": 224, "width": 224})
        if isinstance(size, int):
            size = {"height": size, "width": size} if square else {"shortest_edge": size}
        if kind == "ConvNext" and "shortest_edge" in size:
            steps += _convnext(size["shortest_edge"], settings.get("crop_pct", 224 / 256))
        elif "shortest_edge" in size:
            steps.append({"op": "resize_shortest", "size": size["shortest_edge"]})
        elif "height" in size and "width" in size:
            steps.append({"op": "resize", "size": [size["height"], size["width"]]})
        else:
            raise refuse(f"size {size!r} is unknown")
    if settings.get("do_center_crop"):
        crop = settings.get("crop_size", 224)
        pair = [crop, crop] if isinstance(crop, int) else [crop.get("height"), crop.get("width")]
        steps.append({"op": "center_crop", "size": pair, "rounding": "floor"})
    for step in steps:
        if step["op"] != "center_crop":
            step["interpolation"] = interpolation
    rescale = settings.get("do_rescale", True)
    normalise = settings.get("do_normalize", True)
    if normalise and ("image_mean" not in settings or "image_std" not in settings):
        raise refuse("image_mean or image_std is missing")
    return recipes.recipe(
        steps,
        scale=float(settings.get("rescale_factor", 1 / 255)) if rescale else 1.0,
        mean=settings["image_mean"] if normalise else (0.0, 0.0, 0.0),
        std=settings["image_std"] if normalise else (1.0, 1.0, 1.0),
    )


def _convnext(side: int, crop_pct: float) -> list[dict[str, Any]]:
    """ConvNeXT crops below 384 pixels and distorts from there on."""
    if side >= 384:
        return [{"op": "resize", "size": [side, side]}]
    return [
        {"op": "resize_shortest", "size": int(side / crop_pct)},
        {"op": "center_crop", "size": [side, side], "rounding": "floor"},
    ]


def image_backbone(
    folder: ModelFolder,
    processor: dict[str, Any],
    *,
    name: str,
    reference: dict[str, Any],
    random: bool,
    layer: int | None,
    pooling: str | None,
    size: int | None,
    device: str | None,
) -> image.ImageBackbone:
    """See `isthmus.backbone.transformers.load`."""
    from isthmus.backbone.transformers import weights_digest

    config = folder.config
    recipe = image_recipe(processor, where=str(folder.path))
    if size is not None:
        recipe = recipes.with_size(recipe, size)
    side = recipes.output_size(recipe)
    wanted = config.get("image_size", config.get("vision_config", {}).get("image_size"))
    if isinstance(wanted, int) and side != (wanted, wanted):
        raise UsageError(
            f"this network takes {wanted}x{wanted} pixels, not {side[1]}x{side[0]}",
            where=name,
            why="its position table has that size",
            remedy="Leave --size out",
        )
    digests = weights_digest(folder, random=random)

    def build() -> Any:
        from isthmus.backbone import hf_modules

        model = hf_modules.load_model(folder, random=random)
        return hf_modules.ImageEncoder(model, layer=layer, pooling=pooling)

    return image.make(
        build,
        name=name,
        family="hf",
        weights=iofs.sha256_bytes(iofs.canonical_json([CODE, *digests])),
        recipe=recipe,
        layer=None if layer is None else str(layer),
        pooling=pooling,
        device=device,
        reference=reference,
        licence=folder.licence,
    )
