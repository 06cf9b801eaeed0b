"""Layer 2: image preprocessing from a JSON recipe, with PIL and NumPy only.

A recipe belongs to weights and travels with them::

    {"kind": "image",
     "steps": [{"op": "resize_shortest", "size": 256, "interpolation": "bicubic"},
               {"op": "center_crop", "size": [224, 224], "rounding": "even"}],
     "scale": 0.00392156862745098, "mean": [...], "std": [...], "channels": "RGB"}

The steps work on 8-bit pixels with PIL, exactly as timm's evaluation transform, torchvision's
presets on PIL images and the PIL image processors of transformers do; pixels stay 8-bit until
`normalise`, which computes ``(pixel * scale - mean) / std`` in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from isthmus.errors import BackboneError, DataError, need
from isthmus.types import Array

INTERPOLATIONS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_ASPECT = 200  # a longer strip would be resized to an absurd canvas before it is cropped

Recipe = dict[str, Any]
Size = tuple[int, int]  # (height, width), as everywhere in this file


def recipe(
    steps: Sequence[Mapping[str, Any]],
    *,
    scale: float = 1 / 255,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    channels: str = "RGB",
) -> Recipe:
    """A checked recipe.

    Parameters
    ----------
    steps : sequence of mapping
        ``resize_shortest`` (size int, optional max_size), ``resize`` (size [h, w]),
        ``resize_ratio`` (size [h, w], longest 0 or 1), ``center_crop`` (size [h, w], rounding
        ``even`` as torchvision or ``floor`` as transformers, fill [r, g, b]). Resizes carry an
        ``interpolation``.
    scale : float
        Factor applied to pixels 0..255 first.
    mean, std : three floats
        In the unit of the scaled pixels, in the order of `channels`.
    channels : {"RGB", "BGR"}
        Order in which the network wants them.

    Raises
    ------
    BackboneError
        If a field is unknown or out of range, or the last size is not fixed.
    """
    made = {
        "kind": "image",
        "steps": [dict(step) for step in steps],
        "scale": float(scale),
        "mean": [float(v) for v in mean],
        "std": [float(v) for v in std],
        "channels": channels,
    }
    check(made)
    return made


def check(recipe: Recipe) -> None:
    """Refuse a recipe that could not be applied as it stands (see `recipe`)."""

    def refuse(why: str) -> BackboneError:
        return BackboneError("the preprocessing recipe cannot be used", why=why)

    if recipe.get("kind") != "image" or recipe.get("channels") not in ("RGB", "BGR"):
        raise refuse("kind must be 'image' and channels 'RGB' or 'BGR'")
    numbers = [recipe["scale"], *recipe["mean"], *recipe["std"]]
    if len(recipe["mean"]) != 3 or len(recipe["std"]) != 3 or not np.isfinite(numbers).all():
        raise refuse("mean and std are three finite numbers each")
    if min(recipe["std"]) <= 0 or recipe["scale"] <= 0:
        raise refuse("std and scale are positive")
    for step in recipe["steps"]:
        op = step.get("op")
        size = step.get("size")
        sizes = [size] if op == "resize_shortest" else size
        if op not in ("resize_shortest", "resize", "resize_ratio", "center_crop"):
            raise refuse(f"unknown step {op!r}")
        if not isinstance(sizes, list | tuple) or not all(
            isinstance(v, int) and 0 < v <= 8192 for v in sizes
        ):
            raise refuse(f"{op} needs a size from 1 to 8192 pixels, not {size!r}")
        if op != "center_crop" and step.get("interpolation") not in INTERPOLATIONS:
            raise refuse(f"interpolation is one of {', '.join(INTERPOLATIONS)}")
    output_size(recipe)


def output_size(recipe: Recipe) -> Size:
    """(height, width) of a prepared image: the same for every input."""
    last = recipe["steps"][-1] if recipe["steps"] else {}
    if last.get("op") not in ("resize", "center_crop"):
        raise BackboneError(
            "the recipe does not fix the image size", why="its last step is no crop or resize"
        )
    height, width = last["size"]
    return int(height), int(width)


def prepare(pixels: Array, recipe: Recipe) -> Array:
    """Resize and crop one image.

    Parameters
    ----------
    pixels : ndarray
        (H, W, 3) uint8 RGB.
    recipe : dict
        See the module's text.

    Returns
    -------
    ndarray
        (h, w, 3) uint8, C-contiguous, in the recipe's channel order.

    Raises
    ------
    DataError
        If the array is no 8-bit RGB image, or absurdly long and thin.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise DataError(
            f"expected 8-bit RGB pixels (H, W, 3), got {pixels.dtype} {pixels.shape}",
            remedy="Decode images with isthmus.data.images.decode",
        )
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise DataError(
            f"the image is a strip of {width}x{height} pixels",
            why=f"one side is more than {MAX_ASPECT} times the other",
            remedy="Crop it",
        )
    image = need("PIL.Image", extra="image").fromarray(pixels)
    steps = recipe["steps"]
    at = 0
    while at < len(steps):
        step = steps[at]
        if step["op"] == "center_crop":
            image = _center_crop(image, step)
        else:
            target = _target((image.height, image.width), step)
            following = steps[at + 1] if at + 1 < len(steps) else {}
            crop = following if following.get("op") == "center_crop" else None
            image = _resize(image, target, step, crop)
            at += crop is not None
        at += 1
    made = np.asarray(image)
    return np.ascontiguousarray(made[..., ::-1]) if recipe["channels"] == "BGR" else made


def normalise(batch: Array, recipe: Recipe) -> Array:
    """(n, h, w, 3) or (h, w, 3) uint8 -> float32 of shape (n, 3, h, w) or (3, h, w).

    ``(pixel * scale - mean) / std``, in float32.
    """
    values = np.moveaxis(batch, -1, -3).astype(np.float32)
    shape = (3, 1, 1)
    values *= np.float32(recipe["scale"])
    values -= np.asarray(recipe["mean"], np.float32).reshape(shape)
    values /= np.asarray(recipe["std"], np.float32).reshape(shape)
    return np.ascontiguousarray(values)


def apply(pixels: Array, recipe: Recipe) -> Array:
    """`prepare` then `normalise`: (H, W, 3) uint8 -> (3, h, w) float32."""
    return normalise(prepare(pixels, recipe), recipe)


def eval_recipe(
    size: int | Size,
    *,
    crop_pct: float = 0.875,
    crop_mode: str = "center",
    interpolation: str = "bicubic",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Recipe:
    """The recipe that timm's ``create_transform(**resolve_data_config(...))`` stands for.

    Parameters
    ----------
    size : int or (height, width)
        Side of the crop that the network sees.
    crop_pct : float
        Crop / resized side.
    crop_mode : {"center", "squash", "border"}
        Keep the aspect and cut, distort, or keep the aspect and pad with the mean colour.
    """
    height, width = (size, size) if isinstance(size, int) else size
    scaled = [math.floor(side / crop_pct) for side in (height, width)]
    crop: dict[str, Any] = {"op": "center_crop", "size": [height, width], "rounding": "even"}
    resize: dict[str, Any]
    if crop_mode == "squash":
        resize = {"op": "resize", "size": scaled}
    elif crop_mode == "border":
        resize = {"op": "resize_ratio", "size": scaled, "longest": 1}
        crop["fill"] = [round(255 * v) for v in mean]
    elif scaled[0] == scaled[1]:
        resize = {"op": "resize_shortest", "size": scaled[0]}
    else:
        resize = {"op": "resize_ratio", "size": scaled, "longest": 0}
    resize["interpolation"] = interpolation
    return recipe([resize, crop], mean=mean, std=std)


def with_size(recipe: Recipe, size: int) -> Recipe:
    """The same recipe for another square input; resize and crop keep their ratio."""
    old = min(output_size(recipe))
    steps = []
    for step in recipe["steps"]:
        given = step["size"]
        if isinstance(given, int):
            given = math.floor(given * size / old)
        elif step["op"] == "center_crop" or given == list(output_size(recipe)):
            given = [size, size]
        else:
            given = [math.floor(side * size / old) for side in given]
        steps.append({**step, "size": given})
    made = {**recipe, "steps": steps}
    check(made)
    return made


def _target(size: Size, step: Mapping[str, Any]) -> Size:
    """Size after a resize step. Each rounding is that of the library it stands for."""
    height, width = size
    if step["op"] == "resize":
        return step["size"][0], step["size"][1]
    if step["op"] == "resize_shortest":  # torchvision: the long side is cut, not rounded
        short, long = min(size), max(size)
        new_short, new_long = step["size"], int(step["size"] * long / short)
        limit = step.get("max_size")
        if limit is not None and new_long > limit:
            new_short, new_long = int(limit * new_short / new_long), limit
        new_short = max(new_short, 1)
        return (new_short, new_long) if height <= width else (new_long, new_short)
    ratios = height / step["size"][0], width / step["size"][1]  # timm ResizeKeepRatio
    longest = step.get("longest", 0)
    ratio = max(ratios) * longest + min(ratios) * (1.0 - longest)
    return max(round(height / ratio), 1), max(round(width / ratio), 1)


def _offset(room: int, rounding: str) -> int:
    """Where a centred crop begins: ``round`` to even (torchvision) or floor (transformers)."""
    return room // 2 if rounding == "floor" else round(room / 2.0)


def _resize(image: Any, target: Size, step: Mapping[str, Any], crop: Any) -> Any:
    """Resize, then crop if one follows.

    The horizontal pass always comes first, as in Pillow before 13; later versions choose the
    order by cost, which changes rounded pixels, and a feature must not depend on that. Pixels
    that the crop would drop are not computed where that changes nothing in the rest.
    """
    resample = INTERPOLATIONS[step["interpolation"]]
    if resample == 0:  # nearest: one pass anyway
        image = image.resize((target[1], target[0]), resample)
        return image if crop is None else _center_crop(image, crop)
    old = image.height, image.width
    spans: list[tuple[float, float] | None] = [None, None]
    size = list(target)
    if crop is not None:
        rounding = crop.get("rounding", "even")
        for axis in (0, 1):
            spans[axis] = _span(old[axis], target[axis], crop["size"][axis], rounding)
            if spans[axis] is not None:
                size[axis] = crop["size"][axis]
    left, right = spans[1] or (0, old[1])
    if (size[1], left, right) != (old[1], 0, old[1]):
        image = image.resize((size[1], old[0]), resample, box=(left, 0, right, old[0]))
    top, bottom = spans[0] or (0, old[0])
    if (size[0], top, bottom) != (old[0], 0, old[0]):
        image = image.resize((size[1], size[0]), resample, box=(0, top, size[1], bottom))
    return image if crop is None else _center_crop(image, crop)


@lru_cache(maxsize=4096)
def _span(old: int, new: int, cut: int, rounding: str) -> tuple[float, float] | None:
    """Part of the original that the kept pixels come from, or None where it is not exact.

    PIL takes the box in float32 and works from (end - start) / size. The result is bit-equal to
    resizing everything and cropping if no rounding takes place, i.e. if old / new is a dyadic
    fraction of few digits; 256 rows, the usual case, always qualify.
    """
    if cut >= new:
        return None
    factor = math.gcd(old, new)
    denominator = new // factor
    if denominator & (denominator - 1) or old >= 1 << 13 or denominator > 1 << 10:
        return None
    start = _offset(new - cut, rounding)
    return start * old / new, (start + cut) * old / new


def _center_crop(image: Any, step: Mapping[str, Any]) -> Any:
    """Cut the middle out, padding first where the image is smaller."""
    height, width = step["size"]
    if image.size == (width, height):
        return image
    rounding = step.get("rounding", "even")
    if width > image.width or height > image.height:
        image = _pad(image, (max(height, image.height), max(width, image.width)), step)
    left, top = _offset(image.width - width, rounding), _offset(image.height - height, rounding)
    return image.crop((left, top, left + width, top + height))


def _pad(image: Any, size: Size, step: Mapping[str, Any]) -> Any:
    """Centre the image on a canvas; transformers puts the odd pixel first, torchvision last."""
    first = (lambda room: (room + 1) // 2) if step.get("rounding") == "floor" else _half
    canvas = need("PIL.Image", extra="image").new(
        "RGB", (size[1], size[0]), tuple(step.get("fill", (0, 0, 0)))
    )
    canvas.paste(image, (first(size[1] - image.width), first(size[0] - image.height)))
    return canvas


def _half(room: int) -> int:
    return room // 2
