"""Layer 2: small torch modules around a pretrained network: scaling, a chosen layer, pooling.

Imports torch, so it is itself imported only where a network is built.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from isthmus.errors import BackboneError, UsageError, need

if TYPE_CHECKING:
    import torch
    from torch import nn
else:
    torch = need("torch", extra="image")
    nn = torch.nn

POOLINGS = ("avg", "max", "avgmax", "flatten", "cls", "token")


class Normalised(nn.Module):
    """8-bit pixels in, features out: ``(pixel * scale - mean) / std`` is part of the network.

    Parameters
    ----------
    network : nn.Module
        (n, 3, h, w) float32 -> (n, d).
    recipe : dict
        See `isthmus.backbone.recipes`.
    """

    def __init__(self, network: Any, recipe: dict[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.scale = float(recipe["scale"])
        # Not persistent: these belong to the recipe, and the weights' digest must not see them.
        for name in ("mean", "std"):
            value = torch.tensor(recipe[name], dtype=torch.float32).reshape(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, pixels: Any) -> Any:
        values = pixels.permute(0, 3, 1, 2).to(torch.float32)
        return self.network((values * self.scale - self.mean) / self.std)


class Captured(nn.Module):
    """A network whose output is that of one of its named modules.

    Parameters
    ----------
    network : nn.Module
        It is run whole; an export drops what the layer does not need.
    layer : str
        A name of ``network.named_modules()``.

    Raises
    ------
    UsageError
        If there is no such module, with the names that come close.
    """

    def __init__(self, network: Any, layer: str) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self._seen: list[Any] = []
        find_layer(network, layer).register_forward_hook(self._keep)

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        # A copy: the next layer may work in place (ReLU of VGG) and would change what was kept.
        self._seen.append(output.clone() if isinstance(output, torch.Tensor) else output)

    def forward(self, images: Any) -> Any:
        self._seen.clear()
        self.network(images)
        if not self._seen:
            raise BackboneError(f"the layer {self.layer!r} is not used when the network runs")
        output = self._seen[-1]
        self._seen.clear()
        if not isinstance(output, torch.Tensor):
            raise BackboneError(
                f"the layer {self.layer!r} does not put out one array",
                why=f"but a {type(output).__name__}",
                remedy="Choose a layer inside or before it",
            )
        return output


class Called(nn.Module):
    """A method of a network as a module: ``Called(model, "forward_features")``."""

    def __init__(self, network: Any, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, images: Any) -> Any:
        return getattr(self.network, self.method)(images)


class Pooled(nn.Module):
    """A feature map or a sequence of tokens as one row per image.

    Parameters
    ----------
    network : nn.Module
        Puts out (n, d), (n, d, h, w), (n, tokens, d), or (n, h, w, d) with `channels_last`.
    pooling : str or None
        ``avg``, ``max``, ``avgmax`` (mean of the two), ``flatten``, ``cls`` or ``token`` (the
        first token). None: rows stay, maps are averaged, sequences give their class token where
        they have one, else the average.
    prefix : int, default=0
        Class and register tokens in front; averages and maxima leave them out.
    """

    def __init__(
        self,
        network: Any,
        pooling: str | None = None,
        *,
        prefix: int = 0,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        check_pooling(pooling)
        self.network = network
        self.pooling = pooling
        self.prefix = prefix
        self.channels_last = channels_last

    def forward(self, images: Any) -> Any:
        output = self.network(images)
        how = self.pooling
        if output.ndim == 2:
            if how not in (None, "flatten"):
                raise UsageError(
                    f"the features are already one row an image: nothing to pool by {how!r}",
                    remedy="Leave --pooling out",
                )
            return output
        if output.ndim not in (3, 4):
            raise UsageError(f"an output of shape {tuple(output.shape)} cannot be pooled")
        if how == "flatten":
            return output.flatten(1)
        if output.ndim == 4:
            tokens = (
                output.flatten(1, 2) if self.channels_last else output.flatten(2).transpose(1, 2)
            )
            prefix = 0
        else:
            tokens, prefix = output, self.prefix
        if how is None:
            how = "cls" if prefix else "avg"
        if how in ("cls", "token"):
            if not prefix:
                raise UsageError(
                    "this output has no class token", remedy="Use --pooling avg, max or flatten"
                )
            return tokens[:, 0]
        rest = tokens[:, prefix:]
        if how == "avg":
            return rest.mean(1)
        if how == "max":
            return rest.amax(1)
        return 0.5 * (rest.mean(1) + rest.amax(1))


def check_pooling(pooling: str | None) -> None:
    """Refuse an unknown name."""
    if pooling is not None and pooling not in POOLINGS:
        raise UsageError(f"unknown pooling {pooling!r}", remedy=f"Use {', '.join(POOLINGS)}")


def find_layer(network: Any, layer: str) -> Any:
    """The named module, or a refusal with the names that come close."""
    names = dict(network.named_modules(remove_duplicate=False))
    if layer and layer in names:
        return names[layer]
    close = difflib.get_close_matches(layer, names, n=4, cutoff=0.5)
    outer = [name for name, _ in network.named_children()]
    raise UsageError(
        f"the network has no layer {layer!r}",
        why=f"close: {', '.join(close)}" if close else f"at the top: {', '.join(outer)}",
        remedy="Take a name as printed by model.named_modules()",
    )


def width(network: Any, size: tuple[int, int]) -> int:
    """Number of features for one black image of (height, width).

    Raises
    ------
    UsageError
        If the output is not one row per image.
    """
    network.eval()
    with torch.inference_mode():
        output = network(torch.zeros(1, 3, *size))
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        kind = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise UsageError(
            f"the network puts out {kind}, not one row an image",
            remedy="Choose a --layer, or a --pooling: avg, max or flatten",
        )
    return int(output.shape[1])


def seeded(build: Callable[[], Any]) -> Any:
    """Build with torch's seed 0, leaving the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def private_copy(module: Any) -> Any:
    """A copy that may be frozen and moved without the caller noticing."""
    return copy.deepcopy(module)


def keras_network(keras: Any, model: Any) -> Any:
    """A Keras model (torch backend, channels last) as a module of (n, 3, h, w) images."""

    class KerasNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any) -> Any:
            # Keras puts new arrays on its own current device, whatever the input's is.
            with keras.device("gpu:0" if images.is_cuda else "cpu"):
                return self.model(images.permute(0, 2, 3, 1), training=False)

    return KerasNetwork()
