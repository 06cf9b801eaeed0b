"""What makes two runs the same run: recorded in a checkpoint, compared before it is used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
from torch import Tensor, nn

from isthmus.align.base import Procedure
from isthmus.fit.deep.checkpoint import check_kept
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.settings import Settings

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
MAX_BYTES = 1 << 30  # larger arrays are known by their shape and a sample of their rows


def identity_of(
    network: nn.Module,
    procedure: Procedure,
    settings: Settings,
    plan: Any,
    source: Rows | None,
    target: Rows | None,
) -> dict[str, Any]:
    """Plain values: settings, shapes of all tensors, layers and their options, digests of the data.

    The weights at the start are not among them: those of a checkpoint take their place, and a
    network that is drawn anew by each call must be able to go on.
    """
    state = {
        f"{name}/{key}": value
        for name, module in procedure.modules().items()
        for key, value in module.state_dict().items()
    }
    check_kept(state)  # before the first step, not at the first checkpoint
    shapes = {
        name: list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        for name, value in state.items()
    }
    return {
        "settings": settings.identity(),
        "method": _described(procedure),
        "plan": None if plan is None else _described(plan),
        "layers": hashlib.sha256(_ADDRESS.sub("", repr(network)).encode()).hexdigest(),
        "shapes": hashlib.sha256(repr(sorted(shapes.items())).encode()).hexdigest(),
        "source": _digest(source),
        "target": _digest(target),
    }


_PLAIN = (str, int, float, bool, type(None))


def _is_plain(value: Any) -> bool:
    """A plain value, or a list of such."""
    many = isinstance(value, (tuple, list)) and all(isinstance(item, _PLAIN) for item in value)
    return many or isinstance(value, _PLAIN)


def _described(thing: Any) -> str:
    """Class and plain settings, the parts of a composed method included."""
    if isinstance(thing, partial):
        given = [*map(_described, thing.args), *(thing.keywords), *thing.keywords.values()]
        return f"{_described(thing.func)} of {[_described(value) for value in given]}"
    if not hasattr(thing, "__dict__"):
        return repr(thing) if _is_plain(thing) else type(thing).__name__
    plain: dict[str, Any] = _of_function(thing) if isinstance(thing, FunctionType) else {}
    for key, value in sorted(vars(thing).items()):
        if key.startswith("_") or key == "training":
            continue
        if isinstance(value, _PLAIN):
            plain[key] = value
        elif isinstance(value, (tuple, list)) and key in ("objectives", "penalties", "parts"):
            plain[key] = [_described(item) for item in value]
        elif _is_plain(value):
            plain[key] = list(value)
        elif key == "mix":
            plain[key] = _described(value)
    return f"{getattr(thing, '__qualname__', type(thing).__name__)}({plain})"


def _of_function(function: FunctionType) -> dict[str, Any]:
    """Its code, and the plain values that it was made with: an augmentation is often a closure."""
    held: list[Any] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    inner = [
        _code(value) if isinstance(value, FunctionType) else _described(value) for value in held
    ]
    return {"code": _code(function), "made with": inner}


def _code(function: FunctionType) -> str:
    code = function.__code__
    plain = [value for value in code.co_consts if isinstance(value, _PLAIN)]
    return hashlib.sha256(code.co_code + repr((plain, code.co_names)).encode()).hexdigest()


def _digest(rows: Rows | None) -> str | None:
    if rows is None:
        return None
    total = hashlib.sha256(str(len(rows)).encode())
    inputs = rows.inputs if isinstance(rows.inputs, Mapping) else {"": rows.inputs}
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            total.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            if value.numel() * value.element_size() > MAX_BYTES:
                value = value[:: max(1, len(value) // 1000)]
            total.update(np.ascontiguousarray(value.cpu().numpy()).data)
    for transform in (rows.transform, *rows.views.values()):
        total.update(_described(transform).encode())
    for array in (rows.labels, rows.domains):
        if array is not None:
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
