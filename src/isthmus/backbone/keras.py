"""Layer 2: ``keras:VGG16`` and ``.keras`` / ``.h5`` files, run by Keras on torch.

Keras reads its backend once, when it is first imported. If that has happened with another
backend, or the environment asks for another, this file says so instead of changing it.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import iofs
from isthmus.backbone import image, recipes
from isthmus.backbone.keras_files import check_file, scales_inside
from isthmus.backbone.keras_models import APPLICATIONS, MODES, keras_recipe
from isthmus.backbone.weights import (
    RANDOM,
    check_finite,
    did_you_mean,
    digest_state,
    require_license,
)
from isthmus.errors import BackboneError, UsageError, need

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

_SUFFIXES = (".keras", ".h5", ".hdf5")


def load(
    name: str,
    *,
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    device: str | None = None,
) -> image.ImageBackbone:
    """A Keras model as a backbone.

    Parameters
    ----------
    name : str
        A name of ``keras.applications`` (``VGG16``), used without its classifier; or a model
        file. ``FILE@caffe`` (``tf``, ``torch``, ``none``, ``unit``) says how its pixels are
        scaled; default: ``none`` (0..255) where the model has a Rescaling or Normalization
        layer, else ``unit`` (0..1), with a warning.
    weights : str, optional
        For application names: None: ``~/.keras/models``; ``"random"``; or an ``.h5`` file.
    layer : str, optional
        A layer's name; default: an application's last map; of a file, what its last Dense sees.
    pooling : str, optional
        See `isthmus.backbone.networks.Pooled`; default: average.
    size : int, optional
        Side of the input in pixels, where the model's input is free.

    Raises
    ------
    BackboneError, LicenseError, UsageError
    """
    base, _, mode = name.rpartition("@")
    path, mode = (base, mode) if base and mode in MODES else (name, "")
    options: dict[str, Any] = {
        "layer": layer,
        "pooling": pooling,
        "size": size,
        "device": device,
    }
    if Path(path).suffix.lower() in _SUFFIXES:
        if weights is not None:
            raise UsageError(
                f"{path} holds its own weights",
                remedy="Leave --weights out, or name the architecture: keras:VGG16 --weights FILE",
            )
        return _from_file(Path(path).resolve(), mode, **options)
    if path not in APPLICATIONS:
        raise BackboneError(
            f"Keras has no application {path!r}",
            why=did_you_mean(path, APPLICATIONS),
            remedy=f"Known: {', '.join(APPLICATIONS)}",
        )
    return _application(path, weights, allow_license, **options)


def keras_on_torch() -> Any:
    """Import Keras with the torch backend; the environment is left as it was.

    Raises
    ------
    BackboneError
        If Keras runs, or is to run, on another backend.
    """
    need("torch", extra="keras")
    set_to = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules and set_to not in (None, "", "torch"):
        raise BackboneError(
            "Keras models are run on torch here",
            why=f"KERAS_BACKEND is set to {set_to!r}",
            remedy="Set KERAS_BACKEND=torch, or unset it",
        )
    try:
        os.environ["KERAS_BACKEND"] = "torch"
        keras = need("keras", extra="keras")
    finally:
        if set_to is None:
            os.environ.pop("KERAS_BACKEND", None)
        else:
            os.environ["KERAS_BACKEND"] = set_to
    if keras.backend.backend() != "torch":
        raise BackboneError(
            "Keras models are run on torch here",
            why=f"Keras was already imported with the backend {keras.backend.backend()!r}",
            remedy="Start Python with KERAS_BACKEND=torch, or import isthmus' backbone first",
        )
    return keras


def _application(
    name: str,
    weights: str | None,
    allow_license: bool,
    *,
    layer: str | None,
    pooling: str | None,
    size: int | None,
    device: str | None,
) -> image.ImageBackbone:
    known = APPLICATIONS[name]
    side = size or known.side
    file = _weights_file(name, weights)
    if file is not None and weights is None:
        require_license(None, name=f"keras:{name}", allow=allow_license)
    if file is not None:
        check_file(file)

    def build() -> nn.Module:
        keras = keras_on_torch()
        shape = (side, side, 3)
        with keras.device("cpu"):
            make = getattr(keras.applications, name)
            model = make(weights=None, include_top=False, input_shape=shape)
            if file is None:
                _seed(model)
            else:
                _read_weights(model, file)
        return _features(model, layer, pooling)

    if file is None:
        digest = digest_state(build().state_dict())
    else:
        digest = iofs.sha256_file(file)
    return image.make(
        build,
        name=f"keras:{name}",
        family=f"keras:{name}",
        weights=digest,
        recipe=keras_recipe(side, known.mode),
        layer=layer,
        pooling=pooling,
        device=device,
        reference=image.reference(
            f"keras:{name}",
            weights=weights if weights in (None, RANDOM) else str(file),
            layer=layer,
            pooling=pooling,
            size=size,
            allow_license=allow_license,
        ),
    )


def _from_file(
    path: Path,
    mode: str,
    *,
    layer: str | None,
    pooling: str | None,
    size: int | None,
    device: str | None,
) -> image.ImageBackbone:
    config = check_file(path)
    if config is None:
        raise BackboneError(
            "the file holds weights but no model",
            where=str(path),
            remedy=f"Name the architecture too: --backbone keras:VGG16 --weights {path}",
        )
    keras = keras_on_torch()
    try:
        with keras.device("cpu"):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything on files it does not like
        raise BackboneError(
            "Keras cannot read the model",
            where=str(path),
            why=str(error).strip().splitlines()[0][:300] if str(error).strip() else "",
        ) from None
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3:
        raise BackboneError(
            f"the model takes {shape}, not colour pictures (n, h, w, 3)", where=str(path)
        )
    height, width = shape[1] or size or 224, shape[2] or size or 224
    if size is not None and (height, width) != (size, size):
        raise UsageError(f"this model takes {height}x{width} pixels", where=str(path))
    if not mode:
        mode = "none" if scales_inside(config) else "unit"
        if mode == "unit":
            log.warning(
                "%s: has no scaling layer; pixels are given as 0..1. If it was trained "
                "otherwise write keras:%s@caffe, @tf, @torch or @none",
                path,
                path,
            )
    recipe = keras_recipe(height, mode)
    recipe["steps"][0]["size"] = [int(height), int(width)]
    recipes.check(recipe)
    return image.make(
        lambda: _features(model, layer, pooling, cut=True),
        name=f"keras:{path.name}",
        family="keras:file",
        weights=iofs.sha256_file(path),
        recipe=recipe,
        layer=layer,
        pooling=pooling,
        device=device,
        reference=image.reference(f"keras:{path}@{mode}", layer=layer, pooling=pooling, size=size),
    )


def _weights_file(name: str, weights: str | None) -> Path | None:
    if weights == RANDOM:
        return None
    if weights is None:
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        file = home / "models" / APPLICATIONS[name].file
        if not file.is_file():
            raise BackboneError(
                "the pretrained weights are not on this machine, and nothing is ever fetched",
                where=f"keras:{name}",
                why=f"looked for {file}",
                remedy="Put the file there, or give it: --weights FILE",
            )
        return file
    file = Path(weights).resolve()
    if file.suffix.lower() not in (".h5", ".hdf5"):
        raise BackboneError(f"Keras weights are .h5 files, not {file.suffix!r}", where=str(file))
    return file


def _read_weights(model: Any, file: Path) -> None:
    """Every layer must find its weights and every weight its layer; Keras checks both."""
    try:
        model.load_weights(file)
    except Exception as error:  # Keras raises anything on files that do not fit
        raise BackboneError(
            "the weights do not fit the network",
            where=str(file),
            why=str(error).strip().splitlines()[0][:300] if str(error).strip() else "",
            remedy="It needs the file without classifier (include_top=False, '..._notop.h5')",
        ) from None


def _seed(model: Any) -> None:
    """Seeded kernels without touching Keras's or NumPy's global random state (He et al. 2015)."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if len(shape) > 1:
            spread = np.sqrt(2.0 / max(int(np.prod(shape[:-1])), 1))
            variable.assign(rng.normal(0.0, spread, shape).astype(np.float32))


def _features(
    model: Any, layer: str | None, pooling: str | None, *, cut: bool = False
) -> nn.Module:
    """(n, 3, h, w) -> features of the model, of a layer, or of what its last Dense sees."""
    keras = keras_on_torch()
    from isthmus.backbone.networks import Pooled, check_pooling, keras_network

    check_pooling(pooling)
    output = None
    if layer is not None:
        names = [item.name for item in model.layers]
        if layer not in names:
            raise UsageError(
                f"the network has no layer {layer!r}",
                why=did_you_mean(layer, names) or f"its last are {', '.join(names[-4:])}",
            )
        output = model.get_layer(layer).output
    elif cut:
        dense = [item for item in model.layers if isinstance(item, keras.layers.Dense)]
        if dense and dense[-1].output is model.outputs[0]:
            output = dense[-1].input
    with keras.device("cpu"):  # one array in, whatever nesting the file's own model expects
        model = keras.Model(model.inputs[0], model.outputs[0] if output is None else output)
    network = keras_network(keras, model)
    check_finite(network.state_dict(), where=model.name)
    return Pooled(network, pooling, channels_last=True)
