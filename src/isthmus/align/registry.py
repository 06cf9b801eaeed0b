"""Layer 4: the methods of this folder by name, and their settings as plain values."""

from __future__ import annotations

import inspect
from typing import Any

from isthmus.align.base import Objective, Procedure
from isthmus.registry import classes_by_file, named


def discover() -> dict[str, type]:
    """name -> class of every method in this folder: ``dann`` -> `isthmus.align.dann.DANN`.

    A module's method is its public `Objective` or `Procedure` whose lower-case name is the
    module's without underscores; helper modules have none.
    """
    return classes_by_file("isthmus.align", (Objective, Procedure))


def find(name: str) -> type:
    """The class of a method by the name of its file: ``deep-coral``, ``deep_coral``, ``MCC``.

    Raises
    ------
    UsageError
        If there is none; the nearest names are given.
    """
    known = discover()
    return named(name, known, what="alignment method", otherwise=f"Use one of {', '.join(known)}")


def settings(method: Objective | Procedure) -> dict[str, Any]:
    """What `method` was made with: ``type(method)(**settings(method))`` is an equal one, unbuilt.

    Examples
    --------
    >>> settings(find("bnm")(trade_off=0.5))
    {'trade_off': 0.5}
    """
    return {name: getattr(method, name) for name in inspect.signature(type(method)).parameters}
