"""Layer 2: your own network: any ``nn.Module`` or plain callable as an image backbone.

A module is copied, so the caller's stays in its mode and on its device. It is named by its
weights and its printed structure; code inside ``forward`` that the print does not show is not
covered, so give such a class another name when you change it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import iofs
from isthmus.backbone import image, recipes
from isthmus.errors import BackboneError, UsageError
from isthmus.types import Array, Modality

if TYPE_CHECKING:
    from torch import nn

CUSTOM = {"custom": True}  # cannot be rebuilt by name


def load(
    thing: Any,
    *,
    modality: Modality = "image",
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    device: str | None = None,
) -> Any:
    """A module or callable as a backbone.

    Parameters
    ----------
    thing : nn.Module or callable
        A module takes (n, 3, h, w) float32, prepared by its own recipe: an attribute
        ``isthmus_recipe`` (see `isthmus.backbone.recipes`), or ``pretrained_cfg`` (timm); without
        either: ImageNet mean and deviation, 224 pixels or `size`. A callable takes (n, h, w, 3)
        uint8 images and returns (n, d); see `function`.
    weights : str, optional
        A file to load into (a copy of) the module.
    layer, pooling, size, device
        As for `isthmus.backbone.load_backbone`.

    Raises
    ------
    BackboneError, UsageError
    """
    if modality != "image":
        raise UsageError(
            f"a module or callable can only be used for images, not for {modality}",
            remedy="Write a class with the fields of isthmus.backbone.Backbone and pass an object",
        )
    torch = sys.modules.get("torch")  # a module can only exist where torch is imported
    if torch is not None and isinstance(thing, torch.nn.Module):
        return _module(thing, weights, layer, pooling, size, device)
    if isinstance(thing, type):
        raise UsageError(
            f"{thing.__name__} is a class, not a backbone",
            remedy="Pass an object of it: backbone=Net(), not backbone=Net",
        )
    if weights is not None or layer is not None or pooling is not None:
        raise UsageError("weights, layer and pooling cannot be set on a plain callable")
    name, version = getattr(thing, "name", None), getattr(thing, "version", None)
    return function(thing, name=name, version=version, size=size or 224)


def _module(
    thing: Any,
    weights: str | None,
    layer: str | None,
    pooling: str | None,
    size: int | None,
    device: str | None,
) -> image.ImageBackbone:
    from isthmus.backbone.networks import Captured, Pooled, private_copy
    from isthmus.backbone.weights import check_finite, digest_state, load_state, read_state

    own = private_copy(thing).cpu()
    kind = type(thing).__qualname__
    if weights is not None:
        load_state(own, read_state(weights), where=weights)
    check_finite(own.state_dict(), where=kind)
    recipe = _recipe(own)
    if size is not None:
        recipe = recipes.with_size(recipe, size)
    digest = digest_state(own.state_dict())
    structure = iofs.sha256_bytes(f"{type(thing).__module__}.{kind}\n{own!r}".encode())
    prefix = getattr(own, "num_prefix_tokens", 0)
    channels_last = str(getattr(own, "output_fmt", "")) == "NHWC"
    network = own if layer is None else Captured(own, layer)

    def build() -> nn.Module:
        return Pooled(network, pooling, prefix=prefix, channels_last=channels_last)

    return image.make(
        build,
        name=f"module:{kind}",
        family=f"module:{structure}",
        weights=digest,
        recipe=recipe,
        layer=layer,
        pooling=pooling,
        device=device,
        reference=dict(CUSTOM),
    )


def _recipe(module: Any) -> recipes.Recipe:
    given = getattr(module, "isthmus_recipe", None)
    if given is not None:
        recipes.check(given)
        return dict(given)
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, dict) and "input_size" in config:
        from isthmus.backbone.timm import recipe_of

        return recipe_of(config)
    return recipes.eval_recipe(224, interpolation="bilinear")


@dataclass
class FunctionBackbone:
    """A plain callable as a `Backbone`; made by `function`."""

    name: str
    num_features: int
    recipe: recipes.Recipe
    fingerprint: str
    call: Callable[[Array], Any]
    reference: dict[str, Any]
    batch_size: int = image.BATCH
    modality: Modality = "image"

    def preprocess(self, raw: Any) -> Array:
        """(h, w, 3) uint8 by the recipe."""
        from isthmus.data.images import decode

        return recipes.prepare(decode(raw), self.recipe)

    def __call__(self, batch: Array) -> Array:
        """(n, h, w, 3) uint8 -> (n, num_features) float32."""
        features = np.asarray(self.call(batch), dtype=np.float32)
        if features.shape != (len(batch), self.num_features):
            raise BackboneError(
                f"the callable gave {features.shape} for ({len(batch)}, {self.num_features})",
                where=self.name,
                remedy="It must return one row of the same width for each image",
            )
        return features


def function(
    call: Callable[[Array], Any],
    *,
    name: str | None = None,
    version: str | int | None = None,
    size: int = 224,
    recipe: recipes.Recipe | None = None,
) -> FunctionBackbone:
    """A plain callable as an image backbone.

    Parameters
    ----------
    call : callable
        (n, h, w, 3) uint8 -> (n, d), each row from its own image alone.
    name, version : str
        Together they are its identity in the feature store. Nothing else could be: a function's
        behaviour also hangs on what it calls and on the data it closes over. `load_backbone`
        reads them from attributes of the same names.
    size : int, default=224
        Side of the pictures it gets; ignored where a `recipe` is given.

    Raises
    ------
    UsageError
        If name or version is missing.
    """
    if not name or version in (None, ""):
        raise UsageError(
            "a callable needs a name and a version",
            why="stored features are found again by them; code alone does not tell what a "
            "function computes",
            remedy="Set them: f.name = 'edges'; f.version = '1' (change it when f changes), or "
            "use isthmus.backbone.module.function(f, name=..., version=...)",
        )
    if recipe is None:
        recipe = recipes.recipe(
            [{"op": "resize", "size": [size, size], "interpolation": "bicubic"}]
        )
    else:
        recipes.check(recipe)
    identity = {
        "family": "callable",
        "name": name,
        "version": str(version),
        "recipe": recipe,
        "code": image.CODE_VERSION,
    }
    probe = image.probe(recipes.output_size(recipe))
    features = np.asarray(call(probe))
    if features.ndim != 2 or len(features) != len(probe):
        raise BackboneError(
            f"the callable gave {features.shape} for {probe.shape}",
            where=str(name),
            remedy="It must return (n, d): one row for each image",
        )
    alone = np.concatenate([np.asarray(call(probe[i : i + 1])) for i in range(len(probe))])
    if not np.allclose(features, alone, rtol=1e-4, atol=1e-5 * float(np.abs(features).max() or 1)):
        raise BackboneError(
            "the callable's features depend on the other images of a batch",
            where=str(name),
            remedy="Compute each row from its own image alone (a network in eval mode, say)",
        )
    return FunctionBackbone(
        name=f"callable:{name}",
        num_features=int(features.shape[1]),
        recipe=recipe,
        fingerprint=iofs.sha256_bytes(iofs.canonical_json(identity)),
        call=call,
        reference=dict(CUSTOM),
    )
