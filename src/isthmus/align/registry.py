"""Layer 4: the methods of this folder by name, and their settings as plain values."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from typing import Any

from isthmus.align.base import Objective, Procedure
from isthmus.errors import UsageError


def discover() -> dict[str, type]:
    """name -> class of every method in this folder: ``dann`` -> `isthmus.align.dann.DANN`.

    A module's method is its public `Objective` or `Procedure` whose lower-case name is the
    module's without underscores; helper modules have none.
    """
    package = importlib.import_module("isthmus.align")
    found: dict[str, type] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"isthmus.align.{info.name}")
        wanted = info.name.replace("_", "")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Objective | Procedure)
                and not inspect.isabstract(value)
                and value.__module__ == module.__name__
                and value.__name__.lower() == wanted
            ):
                found[info.name] = value
    return found


def find(name: str) -> type:
    """The class of a method by the name of its file: ``deep-coral``, ``deep_coral``, ``MCC``.

    Raises
    ------
    UsageError
        If there is none; the nearest names are given.
    """
    known = discover()
    squeezed = {key.replace("_", ""): key for key in known}
    wanted = "".join(c for c in name.lower() if c.isalnum())
    if wanted in squeezed:
        return known[squeezed[wanted]]
    near = [squeezed[key].replace("_", "-") for key in difflib.get_close_matches(wanted, squeezed)]
    raise UsageError(
        f"no alignment method {name!r}",
        remedy=f"Did you mean {' or '.join(near)}?" if near else f"Use one of {', '.join(known)}",
    )


def settings(method: Objective | Procedure) -> dict[str, Any]:
    """What `method` was made with: ``type(method)(**settings(method))`` is an equal one, unbuilt.

    Examples
    --------
    >>> settings(find("bnm")(trade_off=0.5))
    {'trade_off': 0.5}
    """
    return {name: getattr(method, name) for name in inspect.signature(type(method)).parameters}
