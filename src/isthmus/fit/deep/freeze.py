"""Freezing: what is frozen stays equal to the bit, batch norm statistics included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MethodType
from typing import Any

from torch import nn

from isthmus.errors import UsageError
from isthmus.fit.deep.surgery import select

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)


def units(module: nn.Module, prefix: str = "") -> list[str]:
    """Names of the blocks of a network from the input to the head, in the order of definition.

    A chain of blocks (`nn.Sequential`, `nn.ModuleList`) counts block by block, and a module whose
    weights lie in a single child is looked into; what holds no weights is left out.
    """
    children = [
        (f"{prefix}{name}", child)
        for name, child in module.named_children()
        if any(True for _ in child.parameters())
    ]
    if not children:
        return [prefix.rstrip(".")] if prefix else []
    found: list[str] = []
    for name, child in children:
        inner = [c for c in child.children() if any(True for _ in c.parameters())]
        opened = isinstance(child, (nn.Sequential, nn.ModuleList)) or len(children) == 1
        own = any(True for _ in child.parameters(recurse=False))
        if opened and inner and not own:
            found += units(child, f"{name}.")
        else:
            found.append(name)
    return found


def network_units(network: nn.Module) -> list[str]:
    """Blocks of a `Network`: those of its body, then bottleneck and head."""
    found: list[str] = []
    for name, child in network.named_children():
        if not any(True for _ in child.parameters()):
            continue
        found += units(child, f"{name}.") if name == "body" else [name]
    return found


def freeze(module: nn.Module, patterns: Sequence[str] | None = None) -> list[str]:
    """Freeze parameters by name or pattern (None: all); return their names.

    A batch norm all of whose parameters are frozen keeps its statistics: it stays in evaluation
    mode whatever `train` is called on the module around it. One without parameters is frozen with
    the block it stands in, which must then be named itself.

    Raises
    ------
    UsageError
        If a pattern chooses nothing.
    """
    names = [n for n, _ in module.named_parameters()] if patterns is None else _chosen(
        module, patterns
    )  # fmt: skip
    parameters = dict(module.named_parameters())
    for name in names:
        parameters[name].requires_grad_(False)
        parameters[name].grad = None
    _settle(module, [""] if patterns is None else patterns)
    return names


def unfreeze(module: nn.Module, patterns: Sequence[str] | None = None) -> list[str]:
    """Undo `freeze` for parameters by name or pattern (None: all); return their names."""
    names = [n for n, _ in module.named_parameters()] if patterns is None else _chosen(
        module, patterns
    )  # fmt: skip
    parameters = dict(module.named_parameters())
    for name in names:
        parameters[name].requires_grad_(True)
    whole = [""] if patterns is None else patterns
    for name, part in module.named_modules():
        if isinstance(part, _NORMS) and (_inside(name, whole) or _trained(part)):
            _release(part)
            part.train(module.training)
    return names


def freeze_depth(network: nn.Module, depth: int) -> list[str]:
    """Freeze all but the last `depth` blocks (see `network_units`), thaw those; return the latter.

    Raises
    ------
    UsageError
        If `depth` is not positive.
    """
    if depth < 1:
        raise UsageError(f"depth={depth} leaves nothing to train", remedy="Give at least 1")
    blocks = network_units(network)
    trained = blocks[-depth:]
    freeze(network)
    unfreeze(network, trained)
    return trained


def hold_statistics(module: nn.Module) -> None:
    """Keep the running statistics of every norm inside as they are, whether its weights train.

    `unfreeze` of the module lets them go again.
    """
    _settle(module, [""], all_of_them=True)


def frozen(module: nn.Module) -> list[str]:
    """Names of the parameters that are frozen now."""
    return [name for name, p in module.named_parameters() if not p.requires_grad]


def _chosen(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    bare = [p for p in patterns if _is_bare(module, p)]  # a norm without parameters, by name
    rest = [p for p in patterns if p not in bare]
    return select(module, rest) if rest else []


def _is_bare(module: nn.Module, name: str) -> bool:
    part = dict(module.named_modules()).get(name)
    return part is not None and not any(True for _ in part.parameters())


def _inside(name: str, patterns: Iterable[str]) -> bool:
    return any(p == "" or name == p or name.startswith(f"{p}.") for p in patterns)


def _trained(part: nn.Module) -> bool:
    return any(p.requires_grad for p in part.parameters(recurse=False))


def _settle(module: nn.Module, patterns: Sequence[str], *, all_of_them: bool = False) -> None:
    """Norms that are now frozen stay in evaluation mode."""
    for name, part in module.named_modules():
        if not isinstance(part, _NORMS) or (_trained(part) and not all_of_them):
            continue
        if any(True for _ in part.parameters(recurse=False)) or _inside(name, patterns):
            part.eval()
            # On the instance: `train` of any module around it must not reach the statistics.
            part.train = MethodType(_stay, part)  # type: ignore[method-assign]


def _stay(self: nn.Module, mode: bool = True) -> Any:
    self.training = False
    return self


def _release(part: nn.Module) -> None:
    part.__dict__.pop("train", None)
