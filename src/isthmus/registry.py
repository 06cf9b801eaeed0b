"""Layer 0: a folder of methods is its own registry: one class a file, found by the file's name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar

from isthmus.errors import UsageError

T = TypeVar("T")


def classes_by_file(package: str, kind: Any) -> dict[str, type]:
    """name of the file -> class of every method in a folder.

    A module's method is its public, concrete `kind` whose lower-case name is the module's without
    underscores; helper modules have none.
    """
    folder = importlib.import_module(package)
    found: dict[str, type] = {}
    for info in sorted(pkgutil.iter_modules(folder.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"{package}.{info.name}")
        wanted = info.name.replace("_", "")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, kind)
                and not inspect.isabstract(value)
                and value.__module__ == module.__name__
                and value.__name__.lower() == wanted
            ):
                found[info.name] = value
    return found


def named(name: str, known: Mapping[str, T], *, what: str, otherwise: str) -> T:
    """What is known by the name of a method's file, dashes, underscores and case aside.

    Parameters
    ----------
    what : str
        What is looked for, for the refusal.
    otherwise : str
        Its remedy where no name is near.

    Raises
    ------
    UsageError
        If there is none; the nearest names are given.
    """
    squeezed = {key.replace("_", ""): key for key in known}
    wanted = "".join(c for c in name.lower() if c.isalnum())
    if wanted in squeezed:
        return known[squeezed[wanted]]
    near = [squeezed[key].replace("_", "-") for key in difflib.get_close_matches(wanted, squeezed)]
    raise UsageError(
        f"no {what} {name!r}", remedy=f"Did you mean {' or '.join(near)}?" if near else otherwise
    )
