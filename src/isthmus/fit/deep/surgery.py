"""Model surgery: cut, drop, re-initialise, add a head, copy weights with a full account."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.backbone.networks import Captured, Pooled, find_layer
from isthmus.backbone.weights import read_state
from isthmus.errors import BackboneError, UsageError
from isthmus.fit.deep.seeds import counter_seed, own_randomness, set_seed

log = logging.getLogger(__name__)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU, "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}  # fmt: skip
_COUNTER = "num_batches_tracked"  # of batch norm; files from before 2017 lack it


@dataclass(frozen=True)
class CopyReport:
    """Where every tensor of both sides went.

    Parameters
    ----------
    loaded : tuple of str
        Tensors of the network that now hold the given values.
    missing : tuple of str
        Tensors of the network that were not given and stay as they were.
    unexpected : tuple of str
        Given tensors that the network does not have.
    mis_shaped : tuple of str
        ``name (given shape) for (own shape)``; they stay as they were.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mis_shaped: tuple[str, ...] = ()
    where: str = field(default="", compare=False)

    @property
    def complete(self) -> bool:
        """Whether every tensor of both sides found its place."""
        return not (self.missing or self.unexpected or self.mis_shaped)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.mis_shaped)
        text = f"{len(self.loaded)} of {total} tensors loaded"
        for kind, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.mis_shaped),
        ):
            if names:
                more = f", ... ({len(names)})" if len(names) > 6 else ""
                text += f"; {kind}: {', '.join(names[:6])}{more}"
        return text


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
        If there is no such layer, or one below it has weights and no rule to draw them; nothing is
        changed then.
    """
    drawn: list[list[Any]] = []
    for layer in layers:
        drawn.append([])
        for name, part in find_layer(module, layer).named_modules():
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
        If a layer has weights and no rule to draw them; nothing is changed then.
    """
    for name, part in module.named_modules():
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


def copy_weights(
    module: nn.Module,
    state: Mapping[str, Tensor] | nn.Module | str | Path,
    *,
    rename: Mapping[str, str] | None = None,
    allow: Sequence[str] = (),
) -> CopyReport:
    """Copy weights into a network; every tensor of both sides is accounted for.

    Parameters
    ----------
    module : nn.Module
        Changed in place, only if nothing is refused.
    state : module, mapping of names to tensors, or a file
        ``.safetensors``, ``.pt`` / ``.pth`` (tensors only; nothing is executed), ``.keras`` or
        ``.h5`` (see `isthmus.fit.deep.keras_state`).
    rename : mapping of str to str
        Leading part of a given name -> leading part of the network's: ``{"fc.": "head."}``.
    allow : sequence of str
        Patterns (``head.*``) of tensors that may be missing, unexpected or of another shape.

    Returns
    -------
    CopyReport

    Raises
    ------
    BackboneError
        Naming the tensors that found no place and are not allowed to.
    """
    where = "the given weights"
    if isinstance(state, (str, Path)):
        where = str(state)
        if Path(state).suffix.lower() in (".keras", ".h5", ".hdf5"):
            from isthmus.fit.deep.keras_state import keras_state

            state = keras_state(state, module)
        else:
            state = read_state(state)
    elif isinstance(state, nn.Module):
        where, state = type(state).__name__, state.state_dict()
    given: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for old, new in (rename or {}).items():
            if name.startswith(old):
                name = new + name[len(old) :]
                break
        if name in given:
            raise BackboneError(f"two of the given tensors are named {name!r}", where=where)
        given[name] = tensor
    own = module.state_dict()
    fitting = [n for n in own if n in given and given[n].shape == own[n].shape]
    report = CopyReport(
        loaded=tuple(fitting),
        missing=tuple(n for n in own if n not in given and not n.endswith(_COUNTER)),
        unexpected=tuple(n for n in given if n not in own),
        mis_shaped=tuple(
            f"{n} {tuple(given[n].shape)} for {tuple(own[n].shape)}"
            for n in own
            if n in given and given[n].shape != own[n].shape
        ),
        where=where,
    )
    faults = {
        kind: [n for n in names if not _matches(n.split(" (")[0], allow)]
        for kind, names in (
            ("missing", report.missing),
            ("unexpected", report.unexpected),
            ("of another shape", report.mis_shaped),
        )
    }
    if any(faults.values()) or not fitting:
        listed = "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
            for kind, names in faults.items()
            if names
        )
        raise BackboneError(
            "the weights do not fit the network" if fitting else "no tensor fits the network",
            where=where,
            why=listed or str(report),
            remedy="Rename them (rename=), or allow by name what may be absent (allow=['head.*'])",
        )
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(given[name])
    log.info("%s: %s", where, report)
    return report


def _matches(name: str, patterns: Sequence[str]) -> bool:
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
        if not any(_matches(name, [pattern]) for name in names):
            find_layer(module, pattern)  # says which names come close
            raise UsageError(f"{pattern!r} holds no weights")
    return [name for name in names if _matches(name, patterns)]


def state_of(module: nn.Module) -> dict[str, Any]:
    """Copies of all tensors of a module, to compare or to put back."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
