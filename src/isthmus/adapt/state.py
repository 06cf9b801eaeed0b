"""Layer 4: a map of target rows as named tensors and JSON, and back; nothing is pickled.

What an adapter returns as `map_target` is a small frozen dataclass. Its state is its class path
and its fields: arrays become tensors, numbers and text stay as they are, dataclasses may hold
dataclasses. A path is believed only where it names a frozen dataclass that a module directly
inside `isthmus.adapt` defines, so a saved file chooses among our own maps and can name no other
code.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from isthmus.errors import BundleError, UsageError
from isthmus.types import Array, identity

PACKAGE = "isthmus.adapt"
DEPTH = 8  # a map is a map of a map; more nesting than this is nobody's
_KINDS = "fiub"


def to_state(value: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """The state of a map.

    Parameters
    ----------
    value : frozen dataclass of `isthmus.adapt`, or `isthmus.types.identity`

    Returns
    -------
    tensors : dict of str to ndarray
        Named by the path of the field, e.g. ``"before.centre"``.
    meta : dict
        JSON-ready.

    Raises
    ------
    UsageError
        If the map, or something in it, has no such form.
    """
    tensors: dict[str, Array] = {}
    return tensors, _encode(value, "", tensors, 0)


def from_state(tensors: Mapping[str, Array], meta: Any) -> Any:
    """Read `to_state` back; arrays keep their dtype and bytes.

    Raises
    ------
    BundleError
        If a class is not on the allow-list, fields are missing or unknown, a tensor is missing,
        left over or not finite.
    """
    left = set(tensors)
    found = _decode(meta, tensors, left, 0)
    if left:
        raise BundleError("tensors of the map belong to no field", why=", ".join(sorted(left)[:5]))
    if not callable(found):
        raise BundleError("the state is not that of a map", why=type(found).__name__)
    return found


def _encode(value: Any, path: str, tensors: dict[str, Array], depth: int) -> dict[str, Any]:
    if depth > DEPTH:
        raise UsageError(f"the map is nested more than {DEPTH} deep", where=path)
    if value is identity:
        return {"identity": True}
    if value is None or isinstance(value, bool | str):
        return {"value": value}
    if isinstance(value, np.generic | np.ndarray):
        array = np.asarray(value)
        if array.dtype.kind not in _KINDS or not np.isfinite(array).all():
            raise UsageError(
                f"an array of {array.dtype} that is not finite numbers cannot be saved", where=path
            )
        tensors[path] = np.array(array, order="C")
        # NumPy's promotion treats a NumPy scalar and a Python number differently
        return {"tensor": path, "scalar": isinstance(value, np.generic)}
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise UsageError(f"the number {value} cannot be saved", where=path)
        return {"value": value}
    start = f"{path}." if path else ""
    if isinstance(value, tuple):
        items = [_encode(v, f"{start}{i}", tensors, depth + 1) for i, v in enumerate(value)]
        return {"items": items}
    kind = type(value)
    if not dataclasses.is_dataclass(value) or not _allowed(kind):
        raise UsageError(
            f"a {kind.__module__}.{kind.__qualname__} cannot be saved",
            where=path or "map_target",
            why=f"only frozen dataclasses of {PACKAGE} with arrays and numbers in them can",
        )
    fields = {
        field.name: _encode(getattr(value, field.name), f"{start}{field.name}", tensors, depth + 1)
        for field in dataclasses.fields(value)
        if field.init
    }
    return {"class": f"{kind.__module__}.{kind.__name__}", "fields": fields}


def _decode(meta: Any, tensors: Mapping[str, Array], left: set[str], depth: int) -> Any:
    if depth > DEPTH or not isinstance(meta, Mapping):
        raise BundleError("the state of the map is not one")
    keys = set(meta)
    if keys == {"identity"}:
        return identity
    if keys == {"value"}:
        value = meta["value"]
        plain = value is None or isinstance(value, bool | str | int | float)
        if not plain or (isinstance(value, float) and not math.isfinite(value)):
            raise BundleError("a value of the map is none", why=repr(value)[:50])
        return value
    if keys == {"tensor", "scalar"}:
        name = meta["tensor"]
        if not isinstance(name, str) or name not in tensors:
            raise BundleError("a tensor of the map is missing", where=str(name)[:100])
        array = np.asarray(tensors[name])
        left.discard(name)
        if array.dtype.kind not in _KINDS or not np.isfinite(array).all():
            raise BundleError("a tensor of the map is not finite", where=name)
        if not meta["scalar"]:
            return array
        if array.ndim:
            raise BundleError(f"a number of the map has shape {array.shape}", where=name)
        return array[()]
    if keys == {"items"} and isinstance(meta["items"], list):
        return tuple(_decode(item, tensors, left, depth + 1) for item in meta["items"])
    if keys == {"class", "fields"} and isinstance(meta["fields"], Mapping):
        kind = _named(meta["class"])
        wanted = {field.name for field in dataclasses.fields(kind) if field.init}
        if set(meta["fields"]) != wanted:
            odd = sorted(set(meta["fields"]) ^ wanted)
            raise BundleError(
                f"fields of {kind.__name__} are missing or unknown", why=", ".join(odd)[:100]
            )
        parts = {n: _decode(v, tensors, left, depth + 1) for n, v in meta["fields"].items()}
        return kind(**parts)
    raise BundleError("the state of the map is not one", why=", ".join(sorted(map(str, keys)))[:99])


def _allowed(kind: type) -> bool:
    """Whether it is a frozen dataclass, by its own name, of a module directly in the package."""
    package, _, module = kind.__module__.rpartition(".")
    return (
        package == PACKAGE
        and module in _modules()
        and dataclasses.is_dataclass(kind)
        and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        and getattr(importlib.import_module(kind.__module__), kind.__name__, None) is kind
    )


def _named(path: Any) -> Any:
    """The class of a path on the allow-list; nothing is imported before the path is known."""
    package, module, name = (*str(path).rsplit(".", 2), "", "")[:3]
    refusal = BundleError(
        f"the map {str(path)[:100]!r} is not one of this package",
        why=f"a saved model may name frozen dataclasses of {PACKAGE} only",
        remedy="It may come from a newer version",
    )
    if not isinstance(path, str) or package != PACKAGE or module not in _modules():
        raise refusal
    kind = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name, None)
    if not isinstance(kind, type) or not _allowed(kind) or kind.__module__ != f"{PACKAGE}.{module}":
        raise refusal
    return kind


@cache
def _modules() -> frozenset[str]:
    package = importlib.import_module(PACKAGE)
    return frozenset(info.name for info in pkgutil.iter_modules(package.__path__))
