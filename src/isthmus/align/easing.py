"""Settings that change in the course of a training: coarse alignment first, then fine."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.errors import UsageError

Eased = float | Sequence[float]


def eased(value: Eased, progress: float, start: float = 0.0) -> float:
    """A setting's value at some point of the training.

    Parameters
    ----------
    value : float or (first, last)
        One number holds throughout. Of two, the first holds until `start`; from there the value
        goes geometrically to the last, in equal factors for equal steps.
    progress : float
        Share of the training that lies behind, in [0, 1].
    start : float, default=0.0
        Where the change begins, in [0, 1]; 1: never.

    Raises
    ------
    UsageError
        Of other than two values, if one of them is not above 0, or if `start` is no share.

    Examples
    --------
    >>> [round(eased((100.0, 0.01), p, 0.5), 2) for p in (0.0, 0.5, 0.75, 1.0)]
    [100.0, 100.0, 1.0, 0.01]
    >>> eased(3.0, 0.7)
    3.0
    """
    if not isinstance(value, Sequence):
        return float(value)
    if len(value) != 2 or min(value) <= 0:
        raise UsageError(
            f"{value!r} is no course from one value to another",
            why="a geometric course has two ends, both above 0",
            remedy="Give one number, or two such as (30.0, 1.0)",
        )
    if not 0 <= start <= 1:
        raise UsageError(f"a course cannot begin at {start}", remedy="Give a share of 0 to 1")
    first, last = value
    share = (progress - start) / (1 - start) if progress > start else 0.0
    return float(first * (last / first) ** share)
