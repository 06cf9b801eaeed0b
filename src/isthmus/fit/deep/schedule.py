"""Learning rates and weights as pure functions of progress: nothing to save, nothing to resume."""

from __future__ import annotations

import math
from collections.abc import Callable

from isthmus.errors import UsageError

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """1 throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """From 1 down to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """From 1 down to 0 on a straight line."""
    return 1.0 - progress


def dann(progress: float) -> float:
    """``(1 + 10 p)^-0.75``: the annealing of Ganin et al. 2016, section 5.2.2."""
    return float((1 + 10 * progress) ** -0.75)


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "dann": dann,
}


def make_schedule(name: str, *, warmup: float = 0.0) -> Schedule:
    """A factor of the learning rate for progress in [0, 1].

    Parameters
    ----------
    name : {"constant", "cosine", "linear", "dann"}
    warmup : float, default=0.0
        Share of the training in which the factor rises linearly to 1; the named schedule fills
        the rest.

    Raises
    ------
    UsageError
        On an unknown name or a share outside [0, 1).
    """
    if name not in SCHEDULES:
        raise UsageError(f"unknown schedule {name!r}", remedy=f"Use {', '.join(SCHEDULES)}")
    if not 0 <= warmup < 1:
        raise UsageError(f"warmup={warmup} is no share of the training", remedy="Use 0 ... 0.9")
    rest = SCHEDULES[name]

    def factor(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        return rest((progress - warmup) / (1 - warmup))

    return factor
