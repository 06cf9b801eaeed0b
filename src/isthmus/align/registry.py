"""Layer 4: the methods of this folder by name, and their settings as plain values."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from isthmus.align.after_training import NAMES, AfterTraining
from isthmus.align.base import Objective, Procedure
from isthmus.align.views import need_weight
from isthmus.errors import UsageError
from isthmus.registry import classes_by_file, named


def discover() -> dict[str, type]:
    """name -> class of every method in this folder: ``dann`` -> `isthmus.align.dann.DANN`.

    A module's method is its public `Objective` or `Procedure` whose lower-case name is the
    module's without underscores; helper modules have none.
    """
    return classes_by_file("isthmus.align", (Objective, Procedure))


def find(name: str) -> type:
    """The class of a method by the name of its file: ``deep-coral``, ``deep_coral``, ``MCC``.

    ``adabn``, ``tent`` and ``t3a`` come after a training (`isthmus.align.after_training`).

    Raises
    ------
    UsageError
        If there is none; the nearest names are given.
    """
    known = discover() | NAMES
    return named(name, known, what="alignment method", otherwise=f"Use one of {', '.join(known)}")


def made(
    name: str, *, on_features: bool = False, **settings: Any
) -> Objective | Procedure | AfterTraining:
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
    known = list(inspect.signature(kind).parameters)
    for setting in settings:
        if setting not in known:
            lacks = f"It has {', '.join(known)}" if known else "It has no settings"
            raise UsageError(f"{kind.__name__} has no setting {setting!r}", remedy=lacks)
    if (weight := settings.get("trade_off")) is not None:
        need_weight(weight, who=kind.__name__)
    own = getattr(kind, "on_features", {}) if on_features else {}
    found: Objective | Procedure | AfterTraining = kind(**{**own, **settings})
    return found


Alone = Procedure | AfterTraining  # neither is one of several
Given = str | Objective | Alone | Sequence[str | Objective] | None


def ready(
    method: Given, *, on_features: bool = False, **settings: Any
) -> Alone | list[Objective] | None:
    """What a training takes, from what a user gives: names become methods, methods are copied.

    Parameters
    ----------
    method : None, str, Objective, Procedure, AfterTraining, or a sequence of names and objectives
    on_features : bool, default=False
        As of `made`.
    **settings
        Of a method given by name.

    Returns
    -------
    Procedure, AfterTraining, list of Objective, or None
        Unbuilt; what was given stays as it is.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> [type(one).__name__ for one in ready(["dann", "bsp"])]
    ['DANN', 'BSP']
    """
    if isinstance(method, str):
        method = made(method, on_features=on_features, **settings)
    elif settings and method is not None:
        raise UsageError(
            f"{' and '.join(settings)} cannot be set from outside",
            why="the method was not given by its name alone",
            remedy="Set it on the method: DANN(trade_off=0.5)",
        )
    if method is None or isinstance(method, Alone):
        return copy.deepcopy(method)
    parts = [method] if isinstance(method, Objective) else list(method)
    found: list[Objective] = []
    for one in parts:
        part = made(one, on_features=on_features) if isinstance(one, str) else one
        if not isinstance(part, Objective):
            raise UsageError(
                f"{type(part).__name__} cannot be one of several",
                why="it is no loss: it has steps of its own, or comes after a training",
                remedy="Give it alone, or objectives only (dann, mcc, bsp, ...)",
            )
        found.append(copy.deepcopy(part))
    return found


def settings(method: Objective | Procedure) -> dict[str, Any]:
    """What `method` was made with: ``type(method)(**settings(method))`` is an equal one, unbuilt.

    Examples
    --------
    >>> settings(find("bnm")(trade_off=0.5))
    {'trade_off': 0.5}
    """
    return {name: getattr(method, name) for name in inspect.signature(type(method)).parameters}
