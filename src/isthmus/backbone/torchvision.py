"""Layer 2: ``torchvision:NAME``: any classification model of torchvision.

Features are what the last linear layer sees. VGG, AlexNet and SqueezeNet give their convolutional
part averaged over the picture (512 numbers for VGG16): the usual choice for a small data set, and
it leaves 124 million classifier weights out. ``--pooling flatten`` gives all 25,088 of VGG16, at
every size of the picture; with ``--layer features`` as many as the picture's size makes.
``--layer classifier.3`` its second hidden layer.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import iofs
from isthmus.backbone import image, recipes
from isthmus.backbone.weights import (
    RANDOM,
    cached_torch_file,
    did_you_mean,
    digest_state,
    load_state,
    read_state,
    require_license,
)
from isthmus.errors import BackboneError, UsageError, need

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

_CONVOLUTIONAL = ("vgg", "alexnet", "squeezenet")
_HEAVY = ("vgg", "alexnet")  # whose classifier outweighs everything before it
_AUXILIARY = ("AuxLogits", "aux1", "aux2")  # extra classifiers that only training uses
_SWAG = "cc-by-nc-4.0"  # the licence text behind torchvision's link to facebookresearch/SWAG


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
    """A torchvision model as a backbone.

    Parameters
    ----------
    name : str
        ``vgg16``, ``resnet50``, ``inception_v3`` (299 pixels), ...; a set of weights may follow:
        ``resnet50.IMAGENET1K_V1``. Without one, the recommended set is taken, or else another
        that lies in the cache.
    weights : str, optional
        None: torch's cache folder; ``"random"``; or a ``.pth`` / ``.safetensors`` file.
    layer : str, optional
        A named module.
    pooling : str, optional
        For VGG-like models and for layers that put out maps. See
        `isthmus.backbone.networks.Pooled`.
    size : int, optional
        Side of the input in pixels.

    Raises
    ------
    BackboneError, LicenseError, UsageError
    """
    architecture, _, tag = name.partition(".")
    members = _members(architecture)
    member, file = _choose(architecture, tag, members, weights)
    licence = None
    if weights is None:
        licence = _licence(member)
        require_license(licence, name=f"torchvision:{name}", allow=allow_license)
    recipe = preset_recipe(member.transforms())
    if size is not None:
        recipe = recipes.with_size(recipe, size)
    side = recipes.output_size(recipe)[0]

    whole = not architecture.startswith(_HEAVY) or (layer or "").startswith("classifier")

    def bare() -> Any:
        return _create(architecture, side) if whole else _convolutions(architecture)

    def build() -> nn.Module:
        model = bare()
        head = _head(architecture, model)
        if file is not None:

            def dropped(tensor: str) -> bool:
                outer = tensor.split(".")[0]
                used = layer is not None and layer.startswith(head)
                return outer in _AUXILIARY or (tensor.startswith(f"{head}.") and not used)

            load_state(model, read_state(file), where=str(file), dropped=dropped)
        return _features(architecture, model, layer, pooling)

    if file is None:
        digest = digest_state(bare().state_dict())
    else:
        digest = iofs.sha256_file(file)
    pretrained = f"torchvision:{architecture}.{member.name}"
    return image.make(
        build,
        plain=True,
        name=f"torchvision:{name}",
        family=f"torchvision:{architecture}",
        weights=digest,
        recipe=recipe,
        layer=layer,
        pooling=pooling,
        device=device,
        licence=licence,
        reference=image.reference(
            pretrained if weights is None else f"torchvision:{name}",
            weights=weights if weights in (None, RANDOM) else str(file),
            layer=layer,
            pooling=pooling,
            size=size,
            allow_license=allow_license,
        ),
    )


def preset_recipe(preset: Any) -> recipes.Recipe:
    """The recipe of ``weights.transforms()`` (an ``ImageClassification`` preset), on PIL images."""
    crop, resize = list(preset.crop_size), list(preset.resize_size)
    interpolation = preset.interpolation.value
    step: dict[str, Any] = {"op": "resize", "size": resize, "interpolation": interpolation}
    if len(resize) == 1:
        step |= {"op": "resize_shortest", "size": resize[0]}
    cut = {"op": "center_crop", "size": crop * 2 if len(crop) == 1 else crop, "rounding": "even"}
    return recipes.recipe([step, cut], mean=preset.mean, std=preset.std)


def _members(architecture: str) -> list[Any]:
    """The sets of weights that torchvision knows for a model, the recommended one first."""
    need("torchvision", extra="image")
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        raise BackboneError(
            f"torchvision has no classification model {architecture!r}",
            why=did_you_mean(architecture, known),
            remedy="torchvision.models.list_models(module=torchvision.models) lists them",
        )
    enum = models.get_model_weights(architecture)
    default = enum.DEFAULT
    return [default, *(member for member in enum if member is not default)]


def _choose(
    architecture: str, tag: str, members: list[Any], weights: str | None
) -> tuple[Any, Path | None]:
    """(set of weights whose recipe applies, file to read); no file for random weights."""
    names = [member.name for member in members]
    if tag and tag.upper() not in names:
        raise BackboneError(
            f"torchvision has no weights {tag!r} for {architecture}",
            why=f"known: {', '.join(names)}",
        )
    wanted = [m for m in members if not tag or m.name == tag.upper()]
    if weights == RANDOM:
        return wanted[0], None
    if weights is None:
        for member in wanted:
            file = cached_torch_file(member.url)
            if file is not None:
                return member, file
        raise BackboneError(
            "the pretrained weights are not on this machine, and nothing is ever fetched",
            where=f"torchvision:{architecture}",
            why=f"looked for {', '.join(m.url.rpartition('/')[2] for m in wanted)} in torch's "
            "cache folder (hub/checkpoints)",
            remedy="Put the file there, or give it: --weights FILE. Without it: the network "
            "timm:tf_efficientnet_lite0 is installed with its weights; --weights random starts "
            "from nothing",
        )
    file = Path(weights).resolve()
    if not file.is_file():
        raise BackboneError(
            "the weights file does not exist", where=str(file), remedy="Check the path of --weights"
        )
    for member in wanted:  # a published file keeps its own recipe under whatever path
        if member.url.rpartition("/")[2] == file.name:
            return member, file
    log.info("%s: prepared as for %s", file, wanted[0])
    return wanted[0], file


def _licence(member: Any) -> str | None:
    """torchvision records a licence only where it is not that of torchvision itself (BSD-3)."""
    licence = member.meta.get("license")
    return _SWAG if licence and "SWAG" in licence else licence or "bsd-3-clause"


def _create(architecture: str, side: int) -> Any:
    """The bare model, seed 0, as it is built for pretrained weights."""
    from torchvision import models

    from isthmus.backbone.networks import seeded

    options: dict[str, Any] = {}
    if architecture in ("inception_v3", "googlenet"):
        # Pretrained weights expect inputs rescaled to the original's range inside the model.
        options = {"transform_input": True, "aux_logits": True, "init_weights": False}
    elif architecture.startswith("vgg"):
        options = {"init_weights": False}
    elif architecture.startswith("vit_"):
        options = {"image_size": side}
    return seeded(lambda: models.get_model(architecture, weights=None, **options))


def _convolutions(architecture: str) -> Any:
    """The bare model without its classifier, whose 124 million weights are never even drawn."""
    import torch
    from torchvision import models

    from isthmus.backbone.networks import seeded

    def build() -> Any:
        with torch.device("meta"):
            model = models.get_model(architecture, weights=None)
        model.classifier = torch.nn.Identity()
        model.to_empty(device="cpu")
        for part in model.modules():  # in the order in which the model itself draws them
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        return model

    return seeded(build)


def _head(architecture: str, model: Any) -> str:
    """Name of the classifier: the last linear layer, or the whole block of VGG-like models."""
    import torch

    if architecture.startswith(_CONVOLUTIONAL):
        return "classifier"
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    linear = [n for n in linear if n.split(".")[0] not in _AUXILIARY]
    return linear[-1]


def _features(architecture: str, model: Any, layer: str | None, pooling: str | None) -> nn.Module:
    """The model without its classifier, or up to a layer, as one row an image."""
    import torch

    from isthmus.backbone.networks import Captured, Pooled, check_pooling

    check_pooling(pooling)
    for auxiliary in _AUXILIARY:
        if hasattr(model, auxiliary):
            setattr(model, auxiliary, None)
            model.aux_logits = False
    if layer == "features" and architecture.startswith(_CONVOLUTIONAL):
        return Pooled(model.features, pooling)  # the classifier would run, and train, for nothing
    if layer is not None:
        maps_last = architecture.startswith("swin") and layer.startswith("features")
        tokens = 1 if architecture.startswith("vit_") else 0
        return Pooled(Captured(model, layer), pooling, prefix=tokens, channels_last=maps_last)
    if architecture.startswith(_CONVOLUTIONAL):
        parts = [model.features, *([model.avgpool] if hasattr(model, "avgpool") else [])]
        return Pooled(torch.nn.Sequential(*parts), pooling)
    if pooling is not None:
        raise UsageError(
            f"--pooling {pooling} needs a layer that puts out maps",
            where=f"torchvision:{architecture}",
            remedy="Name one too, e.g. --layer layer4",
        )
    model.set_submodule(_head(architecture, model), torch.nn.Identity())
    return model
