"""What makes two runs the same run: recorded in a checkpoint, compared before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from isthmus.align.base import Procedure
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.settings import Settings

MAX_BYTES = 1 << 30  # larger arrays are known by their shape and a sample of their rows


def identity_of(
    network: nn.Module,
    procedure: Procedure,
    settings: Settings,
    plan: Any,
    source: Rows | None,
    target: Rows | None,
) -> dict[str, Any]:
    """Plain values: settings, shapes of all tensors, names of the parts, digests of the data."""
    shapes = {
        f"{name}/{key}": list(value.shape)
        for name, module in procedure.modules().items()
        for key, value in module.state_dict().items()
    }
    return {
        "settings": settings.identity(),
        "method": _described(procedure),
        "plan": None if plan is None else _described(plan),
        "shapes": hashlib.sha256(repr(sorted(shapes.items())).encode()).hexdigest(),
        "source": _digest(source),
        "target": _digest(target),
    }


_PLAIN = (str, int, float, bool, type(None))


def _described(thing: Any) -> str:
    """Class and plain settings, the parts of a composed method included."""
    if not hasattr(thing, "__dict__"):
        return repr(thing) if isinstance(thing, _PLAIN) else type(thing).__name__
    plain: dict[str, Any] = {}
    for key, value in sorted(vars(thing).items()):
        if key.startswith("_") or key == "training":
            continue
        if isinstance(value, _PLAIN):
            plain[key] = value
        elif isinstance(value, (tuple, list)) and key in ("objectives", "penalties", "parts"):
            plain[key] = [_described(item) for item in value]
        elif isinstance(value, (tuple, list)) and all(isinstance(item, _PLAIN) for item in value):
            plain[key] = list(value)
        elif key == "mix":
            plain[key] = _described(value)
    return f"{getattr(thing, '__qualname__', type(thing).__name__)}({plain})"


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
