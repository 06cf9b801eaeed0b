"""Freezing: what is frozen stays equal to the bit, statistics and vectors of norms included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from isthmus.errors import UsageError
from isthmus.fit.deep.surgery import select

_ITERATIONS = "_iterations_when_trained"  # of a spectral norm, while it is held


def units(module: nn.Module, prefix: str = "") -> list[str]:
    """Names of the blocks of a network from the input to the head, in the order of definition.

    A container (`nn.Sequential`, `nn.ModuleList`) counts block by block; a module is looked into
    where its weights lie in a single child or one of its children is a chain of blocks (the layers
    of a transformer, the stages of a convolutional network). What holds no weights is left out,
    and so is what a module names in ``unused``.
    """
    unused = getattr(module, "unused", ())
    children = [
        (f"{prefix}{name}", child)
        for name, child in module.named_children()
        if name not in unused and _weighs(child)
    ]
    if not children:
        return [prefix.rstrip(".")] if prefix else []
    found: list[str] = []
    for name, child in children:
        inner = [c for c in child.children() if _weighs(c)]
        alone = len(children) == 1 and not _container(module)
        opened = _container(child) or len(inner) == 1 or alone or any(map(_chain, inner))
        found += units(child, f"{name}.") if opened and inner else [name]
    return found


def network_units(network: nn.Module) -> list[tuple[str, ...]]:
    """Blocks of a `Network` from the input to the head: those of its body, then bottleneck, head.

    Each block is the names of its modules: a norm counts with the block before it. Weights outside
    all blocks (class tokens, embeddings of places) belong to the first.
    """
    found: list[tuple[str, ...]] = []
    parts = dict(network.named_modules())
    for name, child in network.named_children():
        if not _weighs(child):
            continue
        for one in units(child, f"{name}.") if name == "body" else [name]:
            if found and name == "body" and _only_norms(parts[one]):
                found[-1] = (*found[-1], one)
            else:
                found.append((one,))
    return found


def _weighs(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList))


def _chain(module: nn.Module) -> bool:
    """A container of three blocks, or of two that have parts: no shortcut of conv and norm."""
    blocks = [child for child in module.children() if _weighs(child)]
    composed = any(_weighs(part) for block in blocks for part in block.children())
    return _container(module) and len(blocks) >= (2 if composed else 3)


def _only_norms(module: nn.Module) -> bool:
    """Whether all weights are vectors: scales and shifts."""
    return all(p.ndim < 2 for p in module.parameters())


def freeze(module: nn.Module, patterns: Sequence[str] | None = None) -> list[str]:
    """Freeze parameters by name or pattern (None: all); return their names.

    A batch norm all of whose parameters are frozen keeps its statistics: it stays in evaluation
    mode whatever `train` is called on the module around it. One without parameters is frozen with
    the block it stands in, which must then be named itself. The spectral norm of a frozen weight
    keeps its vectors.

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
        if _is_norm(part) and (inside(name, whole) or _trained(part)):
            _release(part)
            part.train(module.training)
    _settle_spectral(module)
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
    trained = [name for block in blocks[-depth:] for name in block]
    freeze(network)
    if depth < len(blocks):
        unfreeze(network, trained)
    else:
        unfreeze(network)
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


def inside(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is one of these modules or lies in one; "" is the whole."""
    return any(p == "" or name == p or name.startswith(f"{p}.") for p in patterns)


def _trained(part: nn.Module) -> bool:
    return any(p.requires_grad for p in part.parameters(recurse=False))


def _settle(module: nn.Module, patterns: Sequence[str], *, all_of_them: bool = False) -> None:
    """Norms that are now frozen stay in evaluation mode."""
    for name, part in module.named_modules():
        if not _is_norm(part) or (_trained(part) and not all_of_them):
            continue
        if any(True for _ in part.parameters(recurse=False)) or inside(name, patterns):
            part.eval()
            # On the instance: `train` of any module around it must not reach the statistics.
            part.train = partial(_stay, part)  # type: ignore[method-assign]
    _settle_spectral(module)


def _settle_spectral(module: nn.Module) -> None:
    """Spectral norms of frozen weights iterate no more, those of trained ones as they were made.

    A step of the power iteration moves their vectors in training mode, and the weight with them.
    """
    for norm, weights in _spectral_norms(module):
        held = getattr(norm, _ITERATIONS, None)
        if any(p.requires_grad for p in weights):
            if held is not None:
                norm.n_power_iterations = held
                delattr(norm, _ITERATIONS)
        elif held is None:
            setattr(norm, _ITERATIONS, norm.n_power_iterations)
            norm.n_power_iterations = 0


def _spectral_norms(module: nn.Module) -> Iterator[tuple[Any, list[nn.Parameter]]]:
    """Each with the parameters that it is computed from: parametrizations, and the old hooks."""
    for part in module.modules():
        if isinstance(part, ParametrizationList):
            members: list[Any] = list(part)
            weights = list(part.parameters())
        else:
            members = list(part._forward_pre_hooks.values())
            names = [f"{getattr(hook, 'name', '')}_orig" for hook in members]
            weights = [p for name in names if (p := part._parameters.get(name)) is not None]
        for one in members:
            if isinstance(getattr(one, "n_power_iterations", None), int):
                yield one, weights


def _is_norm(part: nn.Module) -> bool:
    """Whether it keeps statistics of what it sees (batch, instance and stochastic norms)."""
    norms = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
    return isinstance(part, norms) or isinstance(getattr(part, "running_mean", None), Tensor)


def _stay(part: nn.Module, mode: bool = True) -> Any:
    part.training = False
    return part


def _release(part: nn.Module) -> None:
    part.__dict__.pop("train", None)
