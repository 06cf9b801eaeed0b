"""Weights copied into a network with a full account: none is lost, no value changes unsaid."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from isthmus.backbone.weights import read_state
from isthmus.errors import BackboneError
from isthmus.fit.deep.surgery import matches

log = logging.getLogger(__name__)

_COUNTER = "num_batches_tracked"  # of batch norm; files from before 2017 lack it
_SHOWN = 6  # names in a message


@dataclass(frozen=True)
class CopyReport:
    """Where every tensor of both sides went.

    Parameters
    ----------
    loaded : tuple of str
        Tensors of the network that now hold the given values; of tied ones each name.
    missing : tuple of str
        Tensors of the network that were not given and stay as they were.
    unexpected : tuple of str
        Given tensors that the network does not have.
    mis_shaped : tuple of str
        ``name (given shape) for (own shape)``; they stay as they were.
    cast : tuple of str
        ``name (float32 -> bfloat16)``: those of `loaded` that were given in another type.
    counters : tuple of str
        Counters of batch norm that were not given and stay as they were; nothing reads them.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mis_shaped: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    where: str = field(default="", compare=False)

    @property
    def complete(self) -> bool:
        """Whether every tensor of both sides found its place, the counters of batch norm aside."""
        return not (self.missing or self.unexpected or self.mis_shaped)

    def __str__(self) -> str:
        kept = (self.missing, self.mis_shaped, self.counters)
        total = len(self.loaded) + sum(map(len, kept))
        text = f"{len(self.loaded)} of {total} tensors loaded"
        for kind, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.mis_shaped),
            ("in another type", self.cast),
            ("counters not given", self.counters),
        ):
            if names:
                text += f"; {kind}: {_listed(names)}"
        return text


def copy_weights(
    module: nn.Module,
    state: Mapping[str, Any] | nn.Module | str | Path,
    *,
    rename: Mapping[str, str] | None = None,
    allow: Sequence[str] = (),
) -> CopyReport:
    """Copy weights into a network; every tensor of both sides is accounted for.

    Floats may be rounded to the network's type, which the report says; a cast that changes more
    than that is refused.

    Parameters
    ----------
    module : nn.Module
        Changed in place, only if nothing is refused.
    state : module, mapping of names to tensors, or a file
        ``.safetensors``, ``.pt`` / ``.pth`` (tensors only; nothing is executed), ``.keras`` or
        ``.h5`` (see `isthmus.fit.deep.keras_state`). What a module keeps beside tensors
        (``get_extra_state``) is handed to ``set_extra_state``.
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
        Naming the tensors that found no place and are not allowed to, whose values the network's
        type cannot hold, or that are tied in the network and were given different values.
    """
    given, where = _given(state, module, rename or {})
    own = module.state_dict()
    extra = _extra(module, own)
    fitting = [n for n in own if n in given and (n in extra or _fits(given[n], own[n]))]
    tied = _tied_to({n: own[n] for n in fitting if n not in extra}, own)
    absent = [n for n in own if n not in given and n not in tied]
    counters = [n for n in absent if _is_counter(n, module)]
    casts = {n: (given[n].dtype, own[n].dtype) for n in fitting if n not in extra}
    report = CopyReport(
        loaded=tuple(n for n in own if n in fitting or n in tied),
        missing=tuple(n for n in absent if n not in counters),
        unexpected=tuple(n for n in given if n not in own),
        mis_shaped=tuple(
            f"{n} ({_kind(given[n])}) for ({_kind(own[n])})"
            for n in own
            if n in given and n not in fitting
        ),
        cast=tuple(f"{n} ({_short(a)} -> {_short(b)})" for n, (a, b) in casts.items() if a != b),
        counters=tuple(counters),
        where=where,
    )
    _check_places(report, allow)
    tensors = {n: (own[n], given[n]) for n in casts}
    _check_values(tensors, module, where)
    _check_ties(tensors, where)
    _set_extra({n: (extra[n], given[n]) for n in fitting if n in extra}, where)
    with torch.no_grad():
        for mine, theirs in tensors.values():
            mine.copy_(_taken(theirs, mine))
    log.info("%s: %s", where, report)
    return report


def _given(
    state: Mapping[str, Any] | nn.Module | str | Path, module: nn.Module, rename: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
    """What is to be copied, under the network's names, and where it is from."""
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
    given: dict[str, Any] = {}
    for name, value in state.items():
        for old, new in rename.items():
            if name.startswith(old):
                name = new + name[len(old) :]
                break
        if name in given:
            raise BackboneError(f"two of the given tensors are named {name!r}", where=where)
        given[name] = value
    return given, where


def _extra(module: nn.Module, own: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Names in a state under which modules keep more than parameters and buffers."""
    parts = module.named_modules(remove_duplicate=False)
    named = ((f"{name}._extra_state".lstrip("."), part) for name, part in parts)
    return {key: part for key, part in named if key in own}


def _fits(given: Any, own: Any) -> bool:
    if not (isinstance(given, Tensor) and isinstance(own, Tensor)):
        return False
    return not is_lazy(given) and not is_lazy(own) and given.shape == own.shape


def _kind(value: Any) -> str:
    """A shape in words: ``3, 4``."""
    if not isinstance(value, Tensor):
        return f"no tensor but a {type(value).__name__}"
    if is_lazy(value):
        return "not known before the first batch"
    return ", ".join(map(str, value.shape)) + ("," if value.ndim == 1 else "")


def _is_counter(name: str, module: nn.Module) -> bool:
    """Whether it counts the batches of a norm that does not read it."""
    prefix, _, last = name.rpartition(".")
    if last != _COUNTER:
        return False
    # without a momentum the count says how much the statistics weigh
    return getattr(module.get_submodule(prefix), "momentum", 0.1) is not None


def _tied_to(loaded: Mapping[str, Tensor], own: Mapping[str, Any]) -> set[str]:
    """Names of tensors that are one with a loaded one."""

    def place(tensor: Tensor) -> tuple[Any, ...]:
        return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)

    def plain(tensor: Any) -> bool:
        if not isinstance(tensor, Tensor) or is_lazy(tensor) or tensor.is_meta:
            return False
        return tensor.layout == torch.strided and tensor.numel() > 0

    places = {place(tensor) for tensor in loaded.values() if plain(tensor)}
    return {n for n, t in own.items() if n not in loaded and plain(t) and place(t) in places}


def _check_places(report: CopyReport, allow: Sequence[str]) -> None:
    faults = {
        kind: [n for n in names if not matches(n.split(" (")[0], allow)]
        for kind, names in (
            ("missing", report.missing),
            ("unexpected", report.unexpected),
            ("of another shape", report.mis_shaped),
        )
    }
    if any(faults.values()) or not report.loaded:
        listed = "; ".join(
            f"{len(names)} {kind}: {_listed(names)}" for kind, names in faults.items() if names
        )
        raise BackboneError(
            "the weights do not fit the network" if report.loaded else "no tensor fits the network",
            where=report.where,
            why=listed or str(report),
            remedy="Rename them (rename=), or allow by name what may be absent (allow=['head.*'])",
        )


def _check_values(
    tensors: Mapping[str, tuple[Tensor, Tensor]], module: nn.Module, where: str
) -> None:
    """Refuse tensors whose values would not be the network's afterwards."""
    kept = {
        (t.device, t.untyped_storage().data_ptr())
        for t in (*module.parameters(), *module.buffers())
        if not is_lazy(t) and not t.is_meta and t.layout == torch.strided
    }
    faults = []
    for name, (own, given) in tensors.items():
        why = _unusual(given) or _unusual(own)
        if not why and (own.device, own.untyped_storage().data_ptr()) not in kept:
            why = "the network makes it when it is asked and does not keep it"
        if not why and any(n > 1 and s == 0 for n, s in zip(own.shape, own.stride())):
            why = "the network's is one value, shown several times"
        if why := why or changed_by_cast(given, own.dtype):
            faults.append(f"{name}: {why}")
    if faults:
        raise BackboneError(
            f"{len(faults)} of the weights cannot be copied",
            where=where,
            why=_listed(faults, between="; "),
            remedy="Convert them first (tensor.dequantize(), .to_dense(), .round().long()), "
            "or the network: network.float()",
        )


def _unusual(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "it is on the meta device, where nothing is stored"
    if tensor.is_quantized:
        return f"it is quantised ({_short(tensor.dtype)})"
    if tensor.layout != torch.strided:
        return f"it is sparse ({str(tensor.layout).removeprefix('torch.')})"
    return ""


def changed_by_cast(given: Tensor, kind: torch.dtype) -> str:
    """What a cast to `kind` would change beyond rounding; "" where nothing.

    >>> changed_by_cast(torch.tensor([1e6]), torch.float16)
    '1 of its values becomes infinite as float16'
    >>> changed_by_cast(torch.tensor([0.1]), torch.float16)
    ''
    >>> changed_by_cast(torch.tensor([1.5]), torch.int64)
    'int64 cannot hold its values of float32'
    """
    if given.dtype == kind:
        return ""
    given = given.detach()
    if given.is_complex() and not kind.is_complex:
        if given.imag.any():
            return f"{_short(kind)} cannot hold its imaginary parts"
        given = given.real
    made = given.to(kind)
    if _is_float(given.dtype) and _is_float(kind):
        lost = int((_widest(given).isfinite() & ~_widest(made).isfinite()).sum())
        become = "becomes" if lost == 1 else "become"
        return f"{lost} of its values {become} infinite as {_short(kind)}" if lost else ""
    exact = bool((_widest(made.to(given.dtype)) == _widest(given)).all())
    return "" if exact else f"{_short(kind)} cannot hold its values of {_short(given.dtype)}"


def _is_float(kind: torch.dtype) -> bool:
    return kind.is_floating_point or kind.is_complex


def _widest(tensor: Tensor) -> Tensor:
    """In a type that every comparison knows: those of eight bits have few."""
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor.long()


def _taken(given: Tensor, own: Tensor) -> Tensor:
    """What `own` takes of it: the real parts, where the others are 0 and have no place."""
    given = given.detach()
    return given.real if given.is_complex() and not own.is_complex() else given


def _equal(first: Tensor, second: Tensor) -> bool:
    a, b = _widest(first), _widest(second)
    return bool(((a == b) | ((a != a) & (b != b))).all())  # NaN is one value here


def _check_ties(tensors: Mapping[str, tuple[Tensor, Tensor]], where: str) -> None:
    """Refuse values for memory that several names share, where the last would win."""
    shared: dict[Any, list[str]] = {}
    for name, (own, _) in tensors.items():
        if own.numel():
            shared.setdefault((own.device, own.untyped_storage().data_ptr()), []).append(name)
    for names in shared.values():
        if len(names) < 2:
            continue
        # written as it would be, beside the network
        scratch = tensors[names[0]][0].untyped_storage().clone()
        views = []
        for name in names:
            own, given = tensors[name]
            place = (own.storage_offset(), own.shape, own.stride())
            views.append(torch.empty(0, dtype=own.dtype, device=own.device).set_(scratch, *place))
            views[-1].copy_(_taken(given, own))
        lost = [
            name
            for name, view in zip(names, views)
            if not _equal(view, _taken(tensors[name][1], view).to(view))
        ]
        if lost:
            raise BackboneError(
                f"{_listed(names)} are one tensor in the network and were given different values",
                where=where,
                why=f"the values of {_listed(lost)} would be lost",
                remedy="Give one of them alone, or untie them in the network",
            )


def _set_extra(states: Mapping[str, tuple[nn.Module, Any]], where: str) -> None:
    """Hand over what is no parameter and no buffer; all of it or nothing."""
    before = []
    for name, (part, value) in states.items():
        try:
            before.append((part, copy.deepcopy(part.get_extra_state())))
            part.set_extra_state(copy.deepcopy(value))
        except Exception as error:  # the module's own code
            for other, kept in reversed(before):
                other.set_extra_state(kept)
            raise BackboneError(
                f"{name} was not taken by the network's {type(part).__name__}",
                where=where,
                why=f"{type(error).__name__}: {str(error)[:200]}",
                remedy="Leave it out, and allow that it is missing: allow=['*_extra_state']",
            ) from error


def _short(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _listed(names: Sequence[str], *, between: str = ", ") -> str:
    more = f"{between}... ({len(names)})" if len(names) > _SHOWN else ""
    return between.join(names[:_SHOWN]) + more
