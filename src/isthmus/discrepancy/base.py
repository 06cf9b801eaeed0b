"""The value that measures with a test return, and the one check of two sets of features."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Interval, Trouble


@dataclass(frozen=True)
class Gap:
    """A discrepancy with what is known of its uncertainty.

    Parameters
    ----------
    value : float
        The figure itself; its unit is in the docstring of the measure.
    how : str
        Estimator and test in words, printed beside the figure.
    interval : Interval, optional
        Where the measure has one.
    p_value : float, optional
        Probability of a figure at least as large if both domains were one.
    troubles : tuple of Trouble
        Numerical trouble with its reason and remedy; empty when all went well.
    info : dict
        Further figures (bandwidths, rows used), plain numbers and text.
    """

    value: float
    how: str
    interval: Interval | None = None
    p_value: float | None = None
    troubles: tuple[Trouble, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)


def to_numpy(values: Any) -> Array:
    """Any array on the host, as NumPy."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def check_pair(
    zs: Any, zt: Any, *, who: str, least: int = 2, numpy: bool = False
) -> tuple[ModuleType, Any, Any]:
    """Both sides checked once, as float64 arrays of one namespace.

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy, torch, or what `numpy.asarray` takes.
    who : str
        Name of the measure, for messages.
    least : int, default=2
        Rows that each side must have.
    numpy : bool, default=False
        Bring the rows to NumPy (measures that end in scikit-learn, SciPy or POT).

    Raises
    ------
    DataError
        If a side has too few rows, widths differ, or a value is not finite.
    """
    sides = []
    for name, given in (("source", zs), ("target", zt)):
        side = to_numpy(given) if numpy or not array_api_compat.is_array_api_obj(given) else given
        if side.ndim != 2:
            raise DataError(f"the {name} features must be 2-d, found {side.ndim}-d", where=who)
        if side.shape[0] < least:
            raise DataError(
                f"{side.shape[0]} {name} rows", where=who, why=f"at least {least} are needed"
            )
        sides.append(side)
    if sides[0].shape[1] != sides[1].shape[1]:
        raise DataError(
            f"source rows have {sides[0].shape[1]} features, target rows {sides[1].shape[1]}",
            where=who,
            remedy="Use the same features on both sides",
        )
    xp = array_api_compat.array_namespace(*sides)
    sides = [xp.astype(side, xp.float64, copy=False) for side in sides]
    for name, side in zip(("source", "target"), sides):
        if not bool(xp.all(xp.isfinite(side))):
            raise DataError(f"the {name} features hold NaN or infinity", where=who)
    return xp, sides[0], sides[1]


def check_labels(values: Any, rows: int | None, *, name: str, who: str) -> Array:
    """Labels as a 1-d NumPy array without gaps.

    Raises
    ------
    DataError
        If the number differs from `rows` or a label is missing.
    """
    labels = to_numpy(values)
    if labels.ndim != 1 or (rows is not None and len(labels) != rows) or len(labels) == 0:
        raise DataError(
            f"{name} labels of shape {labels.shape}",
            where=who,
            why="one label a row" if rows is None else f"one label for each of {rows} rows",
        )
    missing = [v is None or (isinstance(v, float) and np.isnan(v)) for v in labels.tolist()]
    if any(missing):
        raise DataError(
            f"{sum(missing)} {name} rows have no label",
            where=who,
            remedy="Give only labelled rows to this measure",
        )
    return labels


def check_choice(value: str, choices: tuple[str, ...], *, name: str, who: str) -> None:
    """Refuse an unknown option by naming the known ones.

    Raises
    ------
    UsageError
        If `value` is not one of `choices`.
    """
    if value not in choices:
        raise UsageError(f"unknown {name} {value!r}", where=who, remedy=f"Use {', '.join(choices)}")


def mean_and_spread(values: Array, *, level: float, how: str) -> Interval:
    """Mean of independent draws with its t interval; NaN ends for a single draw."""
    from scipy.stats import t

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, float("nan"), float("nan"), level=level, how=f"{how}: one draw")
    half = float(t.ppf(0.5 + level / 2, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return Interval(mean, mean - half, mean + half, level=level, how=how)
