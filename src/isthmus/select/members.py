"""Layer 6: the members of a family whose folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def members(package: str, kind: Callable[..., Kind]) -> dict[str, Kind]:
    """One instance of every class of a folder that is a `kind` with a name of its own.

    Returns
    -------
    dict of str to instance
        In the order of their names.
    """
    base: Any = kind  # an abstract class, which a type checker takes for a callable only
    folder = importlib.import_module(package)
    found: dict[str, Kind] = {}
    for info in pkgutil.iter_modules(folder.__path__):
        module: Any = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and issubclass(value, base) and "name" in vars(value):
                found[value.name] = value()
    return {name: found[name] for name in sorted(found)}
