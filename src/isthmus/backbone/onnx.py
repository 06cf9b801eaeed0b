"""Layer 2: ``onnx:FILE``: any ONNX file as a feature extractor, checked before it is run.

What the file cannot say, how an image becomes its input, comes from ``FILE.recipe.json`` beside
it. Without it an image network is refused: a guessed mean or scale gives wrong features silently.
A network that takes rows of numbers (n, d) needs no recipe.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.backbone import image, recipes
from isthmus.backbone.onnx_check import inspect
from isthmus.backbone.weights import require_license
from isthmus.errors import BackboneError, IsthmusError, UsageError
from isthmus.types import Array, Modality

log = logging.getLogger(__name__)

CODE = 1
BATCH = 8  # where the file leaves it open
MAX_FILE = (1 << 31) - 1  # what a protobuf message can hold
BATCH_TOLERANCE = 1e-4  # of the largest feature
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
_POOLINGS = ("mean", "avg", "max", "flatten", "cls")
_EXAMPLE = (
    '{"kind": "image", "size": 224, "crop_pct": 0.875, "interpolation": "bilinear", '
    '"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
)


@dataclass
class OnnxBackbone:
    """Images or rows of numbers -> the output of an ONNX file; made by `load`.

    Parameters
    ----------
    layout : {"NCHW", "NHWC", "rows"}
    dtype : numpy dtype
        What the network takes; uint8 networks get pixels as they are.
    """

    name: str
    modality: Modality
    num_features: int
    batch_size: int
    recipe: dict[str, Any]
    fingerprint: str
    reference: dict[str, Any]
    licence: str
    layout: str
    dtype: Any
    forward: Any = field(repr=False)

    def preprocess(self, raw: Any) -> Array:
        """(h, w, 3) uint8 of an image, or (d,) float32 of a row.

        Raises
        ------
        DataError
            If the image cannot be decoded, or the row is not finite or of another width.
        """
        if self.layout == "rows":
            from isthmus.backbone.identity import IdentityBackbone

            return IdentityBackbone(num_features=self.recipe["width"]).preprocess(raw)
        from isthmus.data.images import decode

        return recipes.prepare(decode(raw), self.recipe["image"])

    def __call__(self, batch: Array) -> Array:
        """(batch_size, ...) -> (batch_size, num_features) float32."""
        features: Array = self.forward(_fed(batch, self.layout, self.dtype, self.recipe))
        return features


def load(
    name: str,
    *,
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    device: str | None = None,
) -> OnnxBackbone:
    """An ONNX file as a backbone; it runs on the CPU.

    Parameters
    ----------
    name : str
        The file. ``<file>.recipe.json`` beside it may hold ``kind`` ("image" or "features"),
        ``output`` (name), ``pooling``, ``license`` and for images either ``steps``, ``scale``,
        ``mean``, ``std``, ``channels`` as in `isthmus.backbone.recipes`, or ``size``,
        ``crop_pct``, ``crop_mode``, ``interpolation``, ``mean``, ``std``.
    layer : str, optional
        Output to use where the file has several.
    pooling : {"mean", "max", "flatten", "cls"}, optional
        How an output of more than two axes becomes rows; default mean.
    size : int, optional
        Side in pixels, where the file leaves it open.

    Raises
    ------
    BackboneError
        If the file is damaged or hostile (other files, foreign operators, loops, giant values), or
        its input cannot be served, or a feature depends on chance or on batch-mates.
    UsageError
        If an option does not apply.
    """
    if weights is not None:
        raise UsageError("an ONNX file carries its weights", remedy="Leave --weights out")
    path = Path(name).expanduser()
    raw = _read(path)
    inspect(raw, where=str(path))
    sidecar = _sidecar(path)
    require_license(sidecar.get("license") or "unstated", name=f"onnx:{name}", allow=allow_license)
    from isthmus.backbone.runtime import session

    runner = session(raw)
    given, layout, width = _input(runner, sidecar, path)
    output = _output(runner, layer or sidecar.get("output"), path)
    pooled = pooling or sidecar.get("pooling") or "mean"
    if pooled not in _POOLINGS:
        raise UsageError(f"unknown pooling {pooled!r}", remedy=f"Use {', '.join(_POOLINGS)}")
    recipe: dict[str, Any] = {"output": output, "pooling": pooled}
    if layout == "rows":
        recipe |= {"kind": "features", "width": width}
    else:
        sides = given.shape[2:4] if layout == "NCHW" else given.shape[1:3]
        recipe |= {"kind": "image", "image": _image_recipe(sidecar, sides, size, path)}
    batch = given.shape[0] if isinstance(given.shape[0], int) else BATCH
    dtype = _TYPES[given.type]

    def forward(values: Array) -> Array:
        try:
            made = runner.run([output], {given.name: values})[0]
        except Exception as error:  # ONNX Runtime raises its own unrelated classes
            raise BackboneError(
                "the ONNX network failed", where=str(path), why=str(error).splitlines()[0][:300]
            ) from None
        return _rows(np.asarray(made), pooled, layout, path)

    made = _probe(forward, layout, dtype, recipe, batch, path)
    reference = image.reference(
        f"onnx:{path.resolve()}",
        layer=layer,
        pooling=pooling,
        size=size,
        allow_license=allow_license,
    )
    return OnnxBackbone(
        name=f"onnx:{name}",
        modality="features" if layout == "rows" else "image",
        num_features=made.shape[1],
        batch_size=batch,
        recipe=recipe,
        fingerprint=iofs.sha256_bytes(
            iofs.canonical_json(["onnx", CODE, iofs.sha256_bytes(raw), recipe, batch])
        ),
        reference=reference,
        licence=str(sidecar.get("license", "")),
        layout=layout,
        dtype=dtype,
        forward=forward,
    )


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise BackboneError(
            "the ONNX file does not exist", where=str(path), remedy="Check the path of --backbone"
        )
    size = path.stat().st_size
    if size > MAX_FILE:
        raise BackboneError("the ONNX file is too large", where=str(path), why=f"{size} bytes")
    return path.read_bytes()


def _sidecar(path: Path) -> dict[str, Any]:
    file = path.with_name(path.name + ".recipe.json")
    if not file.is_file():
        return {}
    try:
        value = iofs.read_json(file, limit=1 << 20)
    except IsthmusError as error:
        raise BackboneError(error.what, where=str(file), why=error.why) from None
    if not isinstance(value, dict):
        raise BackboneError("expected a JSON object", where=str(file), remedy=f"Write {_EXAMPLE}")
    return value


def _input(runner: Any, sidecar: dict[str, Any], path: Path) -> tuple[Any, str, int]:
    """The one input, its layout and, for rows, its width."""
    inputs = runner.get_inputs()
    listed = ", ".join(f"{i.name} {i.shape} {i.type}" for i in inputs)

    def refuse(why: str, remedy: str = "") -> BackboneError:
        return BackboneError(
            "the network's input cannot be served", where=str(path), why=why, remedy=remedy
        )

    if len(inputs) != 1:
        raise refuse(f"it has {len(inputs)} inputs: {listed}", "Text models: use hf:FOLDER")
    given = inputs[0]
    if given.type not in _TYPES:
        raise refuse(f"{given.name} is {given.type}", "Text models: use hf:FOLDER")
    shape = list(given.shape)
    if len(shape) == 2 and isinstance(shape[1], int):
        return given, "rows", shape[1]
    if len(shape) == 4 and (shape[1] == 3 or shape[3] == 3):
        layout = "NCHW" if shape[1] == 3 else "NHWC"
        layout = sidecar.get("layout", layout)
        if layout not in ("NCHW", "NHWC") or shape[1 if layout == "NCHW" else 3] != 3:
            raise refuse(f"layout {layout!r} does not fit {listed}")
        return given, layout, 0
    raise refuse(
        listed,
        "Supported are colour images (n, 3, h, w) or (n, h, w, 3) and rows of numbers (n, d)",
    )


def _output(runner: Any, wanted: Any, path: Path) -> str:
    names = [item.name for item in runner.get_outputs()]
    if wanted is None and len(names) == 1:
        return str(names[0])
    if wanted in names:
        return str(wanted)
    raise BackboneError(
        f"the network has no output {wanted!r}" if wanted else "the network has several outputs",
        where=str(path),
        why=f"its outputs are {', '.join(names)}",
        remedy="Name one with --layer",
    )


def _image_recipe(
    sidecar: dict[str, Any], sides: list[Any], size: int | None, path: Path
) -> recipes.Recipe:
    """The recipe beside the file, of the size that the file wants."""
    known = ("size", "crop_pct", "crop_mode", "interpolation", "mean", "std")
    fixed = all(isinstance(side, int) for side in sides)
    place = str(path.with_name(path.name + ".recipe.json"))
    if "mean" not in sidecar or "std" not in sidecar:
        raise BackboneError(
            "nothing says how images are prepared for this network",
            where=str(path),
            why="a wrong size, scale, mean or std would give wrong features without any error",
            remedy=f"Write {place} with what it was trained on, for example {_EXAMPLE}",
        )
    try:
        if "steps" in sidecar:
            fields = ("steps", "scale", "mean", "std", "channels")
            made = recipes.recipe(**{key: sidecar[key] for key in fields if key in sidecar})
        else:
            asked = {key: sidecar[key] for key in known if key in sidecar}
            asked.setdefault("size", [int(s) for s in sides] if fixed else size)
            made = recipes.eval_recipe(**asked)
        if size is not None:
            made = recipes.with_size(made, size)
    except BackboneError as error:
        raise BackboneError(error.what, where=place, why=error.why) from None
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        raise BackboneError(
            "the recipe cannot be used", where=place, why=str(error), remedy=f"Write {_EXAMPLE}"
        ) from None
    found = recipes.output_size(made)
    if fixed and found != tuple(sides):
        raise BackboneError(
            f"the recipe gives {found[1]}x{found[0]} pixels, the network takes "
            f"{sides[1]}x{sides[0]}",
            where=place,
        )
    return made


def _fed(batch: Array, layout: str, dtype: Any, recipe: dict[str, Any]) -> Array:
    """A batch of prepared items as the network takes it."""
    if layout != "rows" and dtype != np.uint8:
        batch = recipes.normalise(batch, recipe["image"])
        batch = batch.transpose(0, 2, 3, 1) if layout == "NHWC" else batch
    elif layout == "NCHW":
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch, dtype=dtype)


def _rows(made: Array, pooling: str, layout: str, path: Path) -> Array:
    """Network output (n, ...) -> (n, d) float32."""
    made = made.astype(np.float32, copy=False)
    if made.ndim < 2:
        raise BackboneError(
            f"the output has the shape {made.shape}, not one row an item", where=str(path)
        )
    if made.ndim == 2 or pooling == "flatten":
        return made.reshape(len(made), -1)
    if made.ndim == 3:  # (n, tokens, d)
        if pooling == "cls":
            return made[:, 0]
        return made.max(1) if pooling == "max" else made.mean(1)
    if pooling == "cls":
        raise BackboneError("a feature map has no class token", where=str(path))
    axes = tuple(range(1, made.ndim - 1)) if layout == "NHWC" else tuple(range(2, made.ndim))
    return made.max(axes) if pooling == "max" else made.mean(axes)


def _probe(
    forward: Any, layout: str, dtype: Any, recipe: dict[str, Any], batch: int, path: Path
) -> Array:
    """Run made-up input: finite, the same twice, the same whatever the neighbours are."""
    noise = np.random.default_rng(0)
    if layout == "rows":
        values: Array = noise.standard_normal((batch, recipe["width"])).astype(np.float32)
    else:
        height, width = recipes.output_size(recipe["image"])
        values = noise.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    first = forward(_fed(values, layout, dtype, recipe))
    again = forward(_fed(values, layout, dtype, recipe))
    others = values.copy()
    others[1:] = 0
    alone = forward(_fed(others, layout, dtype, recipe))
    if first.shape[0] != batch or not first.shape[1]:
        raise BackboneError(f"the output has the shape {first.shape}", where=str(path))
    if not np.isfinite(first).all():
        raise BackboneError("the network's features are not finite", where=str(path))
    if not np.array_equal(first, again):
        raise BackboneError(
            "the network gives other features for the same input",
            where=str(path),
            why="it draws random numbers: it was exported in training mode",
        )
    scale = float(np.abs(first).max()) or 1.0
    if np.abs(first[0] - alone[0]).max() > BATCH_TOLERANCE * scale:
        raise BackboneError(
            "a feature depends on the other items of its batch",
            where=str(path),
            why="its normalisation uses the batch: it was exported in training mode",
        )
    return first
