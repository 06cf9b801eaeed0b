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


def made(name: str, *, on_features: bool = False, **settings: Any) -> Objective | Procedure:
    """A method by name, unbuilt.

    Parameters
    ----------
    name : str
        As of `find`.
    on_features : bool, default=False
        For a small network on features: `Objective.on_features` in the place of the defaults.
    **settings
        Instead of either.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> made("dann").hidden, made("dann", on_features=True).hidden
    ((500, 500), (128, 128))
    """
    kind = find(name)
    own = getattr(kind, "on_features", {}) if on_features else {}
    found: Objective | Procedure = kind(**{**own, **settings})
    return found


def settings(method: Objective | Procedure) -> dict[str, Any]:
    """What `method` was made with: ``type(method)(**settings(method))`` is an equal one, unbuilt.

    Examples
    --------
    >>> settings(find("bnm")(trade_off=0.5))
    {'trade_off': 0.5}
    """
    return {name: getattr(method, name) for name in inspect.signature(type(method)).parameters}
