"""Weights of ``.h5`` and ``.keras`` files under the names of a torch network.

Only arrays are read (h5py); Keras itself is not needed, and nothing in the file is executed.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.backbone.keras_files import check_file
from isthmus.errors import BackboneError, need
from isthmus.types import Array

# Keras 2 and 3 layer weights -> what torch calls them, in the order in which Keras stores them
_NAMED = {
    "kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var", "embeddings": "weight",
}  # fmt: skip
_WHOLE = "Save the network again with model.save('NAME.keras')"


def keras_layers(path: str | Path) -> list[tuple[str, dict[str, Array]]]:
    """Layers with weights in the order of the file: (name, {torch's name: array as stored}).

    Raises
    ------
    BackboneError
        If the file is hostile or damaged, or a weight is of a kind that is not known.
    """
    h5py = need("h5py", extra="keras")
    path = Path(path)
    config = check_file(path)
    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive:
            if "model.weights.h5" not in archive.namelist():
                raise BackboneError("the archive holds no weights", where=str(path), remedy=_WHOLE)
            raw = io.BytesIO(archive.read("model.weights.h5"))
    else:
        raw = io.BytesIO(path.read_bytes())
    try:
        with h5py.File(raw, "r") as file:
            if "layer_names" in file.attrs or "model_weights" in file:
                found = _old(file.get("model_weights", file), path)
            else:
                found = _new(file, config, path)
    except (KeyError, TypeError, ValueError, AttributeError, OSError, RuntimeError) as error:
        raise BackboneError(
            "the layers in the file are not stored as Keras stores them",
            where=str(path),
            why=" ".join(str(error).split())[:160],
            remedy=_WHOLE,
        ) from None
    if not found:
        raise BackboneError("the file holds no layers with weights", where=str(path), remedy=_WHOLE)
    return found


def keras_state(path: str | Path, module: nn.Module) -> dict[str, Tensor]:
    """The file's weights under the names of a network's layers, paired in their order.

    Parameters
    ----------
    path : path-like
        ``.keras``, ``.h5``, ``.weights.h5``.
    module : nn.Module
        Its layers with weights (dense, convolution, batch norm, embedding) must come in the order
        of the file's. A dense kernel (in, out) is turned round, a convolution kernel
        (h, w, in, out) becomes (out, in, h, w).

    Returns
    -------
    dict of str to Tensor
        Shapes are not compared here: `isthmus.fit.deep.copy_weights` accounts for them.
        Layers that the network lacks keep the file's names.

    Notes
    -----
    After a Flatten layer Keras counts (h, w, channel) and torch (channel, h, w): a dense kernel
    behind one is only right for a network that flattens its maps channels last.
    """
    layers = keras_layers(path)
    kinds = (nn.Linear, nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Embedding)
    own = [(n, m) for n, m in module.named_modules() if isinstance(m, (*kinds, nn.LayerNorm))]
    state: dict[str, Tensor] = {}
    for k, (name, weights) in enumerate(layers):
        prefix, part = own[k] if k < len(own) else (name, None)
        for key, value in weights.items():
            where = f"{prefix}.{key}" if prefix else key
            state[where] = torch.from_numpy(_turned(value, key, part))
    return state


def _turned(value: Array, key: str, part: nn.Module | None) -> Array:
    """Keras puts the outputs last, torch first."""
    if key == "weight" and value.ndim > 1 and not isinstance(part, nn.Embedding):
        depthwise = (
            isinstance(part, nn.modules.conv._ConvNd) and part.groups > 1 and value.shape[-1] == 1
        )
        axes = (value.ndim - 1, value.ndim - 2, *range(value.ndim - 2))
        if depthwise:
            axes = (value.ndim - 2, value.ndim - 1, *range(value.ndim - 2))
        value = value.transpose(axes)
    return np.ascontiguousarray(value, dtype=np.float32)


def _old(group: Any, path: Path) -> list[tuple[str, dict[str, Array]]]:
    """Keras 2: ``layer_names`` and ``weight_names`` are attributes."""
    found = []
    for raw in group.attrs["layer_names"]:
        layer = raw.decode() if isinstance(raw, bytes) else str(raw)
        weights = {}
        for inner in group[layer].attrs["weight_names"]:
            name = inner.decode() if isinstance(inner, bytes) else str(inner)
            kind = name.rpartition("/")[2].partition(":")[0]
            weights[_torch_name(kind, name, path)] = np.asarray(group[layer][name])
        if weights:
            found.append((layer, weights))
    return found


def _new(file: Any, config: Any, path: Path) -> list[tuple[str, dict[str, Array]]]:
    """Keras 3: ``layers/<name>/vars/0, 1, ...``; names count up within a class of layers.

    The archive lists groups by name; the configuration knows their order.
    """
    root = file.get("layers", file.get("_layer_checkpoint_dependencies"))
    if not hasattr(root, "keys"):
        return []
    groups = {name: root[name] for name in root if len(root[name].get("vars", ()))}
    order = sorted(groups, key=_by_number) if config is None else _config_order(config, groups)
    if config is None and len({re.sub(r"_\d+$", "", name) for name in groups}) > 1:
        raise BackboneError(
            "the file does not tell the order of its layers",
            where=str(path),
            why="it holds weights only, of several kinds of layers",
            remedy="Save the whole model as .keras",
        )
    found = []
    for name in order:
        arrays = [np.asarray(groups[name]["vars"][key]) for key in sorted(groups[name]["vars"])]
        kind = re.sub(r"_\d+$", "", name)
        keys = ["weight", "bias"]
        if kind == "batch_normalization":
            keys = ["weight", "bias", "running_mean", "running_var"][-len(arrays) :]
            if len(arrays) == 3:  # scale or centre is missing, and the file does not say which
                raise BackboneError(
                    f"the batch norm {name!r} has three weights",
                    where=str(path),
                    remedy="Save it with center=True and scale=True",
                )
        if len(arrays) > len(keys):
            raise BackboneError(f"a layer {name!r} with {len(arrays)} weights", where=str(path))
        found.append((name, dict(zip(keys, arrays))))
    return found


def _by_number(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(?:_(\d+))?", name)
    assert match is not None
    return match[1], int(match[2] or 0)


def _config_order(config: Any, groups: Any) -> list[str]:
    """Groups in the order of the model's layers: the k-th layer of a class is ``class_k``."""
    counts: dict[str, int] = {}
    order = []
    for layer in config.get("config", {}).get("layers", []):
        kind = str(layer.get("class_name"))
        snake = re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        snake = snake.replace("conv2_d", "conv2d").replace("conv1_d", "conv1d")
        number = counts.get(snake, 0)
        counts[snake] = number + 1
        name = snake if number == 0 else f"{snake}_{number}"
        if name in groups:
            order.append(name)
    return order if len(order) == len(groups) else sorted(groups, key=_by_number)


def _torch_name(kind: str, name: str, path: Path) -> str:
    if kind == "depthwise_kernel":
        return "weight"
    if kind not in _NAMED:
        raise BackboneError(f"a weight of an unknown kind: {name!r}", where=str(path))
    return _NAMED[kind]
