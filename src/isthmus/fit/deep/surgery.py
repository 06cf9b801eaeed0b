"""Model surgery: cut, drop, re-initialise, add a head."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isthmus.backbone.networks import Captured, Pooled, find_layer
from isthmus.errors import UsageError
from isthmus.fit.deep.seeds import counter_seed, own_randomness, set_seed

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU, "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}  # fmt: skip


def cut(module: nn.Module, layer: str, *, pooling: str | None = None) -> nn.Module:
    """The network up to a named layer, with one row per input.

    Parameters
    ----------
    module : nn.Module
        It is not copied: the result trains its weights.
    layer : str
        A name of ``module.named_modules()``. In a plain chain (`nn.Sequential` inside
        `nn.Sequential`) what follows it is left out; elsewhere the whole network runs and the
        layer's output is taken.
    pooling : str, optional
        ``avg``, ``max``, ``flatten``, ...; see `isthmus.backbone.networks.Pooled`.

    Raises
    ------
    UsageError
        If there is no such layer.
    """
    find_layer(module, layer)
    chain = _chain(module, layer)
    return Pooled(Captured(module, layer) if chain is None else chain, pooling)


def _chain(module: nn.Module, layer: str) -> nn.Sequential | None:
    """The leading part of a sequential network, where it is one."""
    if not isinstance(module, nn.Sequential):
        return None
    first, _, rest = layer.partition(".")
    parts: list[nn.Module] = []
    for name, part in module._modules.items():  # a layer that stands twice counts twice
        assert part is not None
        if name != first:
            parts.append(part)
            continue
        last = part if not rest else _chain(part, rest)
        return None if last is None else nn.Sequential(*parts, last)
    return None


def drop(module: nn.Module, layers: Sequence[str]) -> nn.Module:
    """Put `nn.Identity` in the place of layers; the module is changed and returned.

    Raises
    ------
    UsageError
        If there is no such layer.
    """
    for layer in layers:
        find_layer(module, layer)
        module.set_submodule(layer, nn.Identity())
    return module


def reinitialise(module: nn.Module, layers: Sequence[str], *, seed: int = 0) -> nn.Module:
    """Draw the weights of layers (and of all that is inside them) anew by their own rule.

    Raises
    ------
    UsageError
        If there is no such layer, or one below it has weights and no rule to draw them, or computes
        them from others; nothing is changed then.
    """
    drawn: list[list[Any]] = []
    for layer in layers:
        drawn.append([])
        for name, part in find_layer(module, layer).named_modules():
            _check_drawn(part, f"{layer}.{name}".rstrip("."))
            # attention has the rule under a name of its own
            rule = getattr(part, "reset_parameters", None) or getattr(
                part, "_reset_parameters", None
            )
            if callable(rule):
                drawn[-1].append(rule)
            elif any(True for _ in part.parameters(recurse=False)):
                raise _no_rule(part, f"{layer}.{name}".rstrip("."))
    with own_randomness(torch.device("cpu")):
        for k, rules in enumerate(drawn):
            set_seed(counter_seed(seed, k))
            for rule in rules:
                rule()
    return module


def _check_drawn(part: nn.Module, where: str) -> None:
    """What is drawn for a computed weight would be lost at the next forward pass."""
    known = part._parameters
    old = [
        name not in known and (f"{name}_orig" in known or f"{name}_g" in known)
        for name in ("weight", "bias")
    ]
    if parametrize.is_parametrized(part) or any(old):
        raise UsageError(
            f"the weights of a {type(part).__name__.removeprefix('Parametrized')} are computed "
            "from others",
            where=where,
            why="by a parametrization: a spectral or weight norm, or a low-rank update",
            remedy="Draw them before it is added, or remove it first: merge_lora(...), "
            "remove_parametrizations(...)",
        )


def _no_rule(part: nn.Module, where: str) -> UsageError:
    return UsageError(
        f"a {type(part).__name__} does not know how to draw its weights",
        where=where,
        remedy="Re-initialise the layers inside it, or build it anew",
    )


def he_initialise(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Draw every weight anew, as a network that starts from nothing should begin; in place.

    Convolutions and dense layers: normal of deviation ``sqrt(2 / fan)`` (He et al. 2015, eq. 10;
    fan of the outputs for convolutions), which keeps deep networks without batch norm such as VGG
    alive; torch's own rule lets their signal fade to nothing. Biases are 0, everything else
    follows its own rule.

    Raises
    ------
    UsageError
        If a layer has weights and no rule to draw them, or computes them from others; nothing is
        changed then.
    """
    for name, part in module.named_modules():
        _check_drawn(part, name)
        own = any(True for _ in part.parameters(recurse=False))
        if own and not callable(getattr(part, "reset_parameters", None)):
            raise _no_rule(part, name)
    with own_randomness(torch.device("cpu")), torch.no_grad():
        set_seed(counter_seed(seed, 0))
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if isinstance(part, (nn.Linear, nn.modules.conv._ConvNd)):
                weight: Tensor = part.weight
                fan = weight.shape[1]
                if isinstance(part, nn.modules.conv._ConvNd):
                    fan = weight[0, 0].numel() * len(weight) // part.groups
                nn.init.normal_(weight, std=(2.0 / fan) ** 0.5)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            elif callable(reset):
                reset()
    return module


def make_head(
    num_features: int,
    num_classes: int,
    *,
    hidden: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
    pooling: str | None = None,
) -> nn.Sequential:
    """Dense layers on top: (flatten or pool) -> [dense, activation, dropout] ... -> dense.

    Parameters
    ----------
    num_features : int
        Inputs of the first dense layer, after flattening or pooling.
    num_classes : int
        Outputs: logits. Softmax is part of the loss, and of `predict_proba`.
    hidden : sequence of int
        ``(1024,)`` with ``dropout=0.5`` is the head of many tutorials.
    activation : {"relu", "gelu", "tanh", "silu", "sigmoid", "none"}
    pooling : {None, "flatten", "avg", "max"}
        For a body that puts out maps (n, c, h, w); None where it puts out rows.

    Raises
    ------
    UsageError
        On an unknown activation or pooling.
    """
    if activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation {activation!r}", remedy=f"Use {list(ACTIVATIONS)}")
    shapes: dict[str | None, list[nn.Module]] = {
        None: [],
        "flatten": [nn.Flatten()],
        "avg": [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
        "max": [nn.AdaptiveMaxPool2d(1), nn.Flatten()],
    }
    if pooling not in shapes:
        raise UsageError(f"unknown pooling {pooling!r}", remedy="Use flatten, avg or max")
    parts, width = shapes[pooling], num_features
    for size in hidden:
        parts += [nn.Linear(width, size), ACTIVATIONS[activation]()]
        parts += [nn.Dropout(dropout)] if dropout else []
        width = size
    return nn.Sequential(*parts, nn.Linear(width, num_classes))


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is chosen by patterns: ``head`` (all inside), ``*.bias``."""
    return any(
        fnmatch.fnmatchcase(name, pattern) or name.startswith(f"{pattern}.") for pattern in patterns
    )


def select(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Names of the parameters that patterns choose: ``body.conv.0`` (all inside), ``*.bias``.

    Raises
    ------
    UsageError
        If a pattern chooses nothing.
    """
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in names):
            find_layer(module, pattern)  # says which names come close
            raise UsageError(f"{pattern!r} holds no weights")
    return [name for name in names if matches(name, patterns)]


def state_of(module: nn.Module) -> dict[str, Any]:
    """Copies of all that a module keeps, tensors and other state, to compare or to put back."""
    return copies(module.state_dict())


def copies(state: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a ``state_dict`` as copies: ``get_extra_state`` gives what is no tensor."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in state.items()
    }
