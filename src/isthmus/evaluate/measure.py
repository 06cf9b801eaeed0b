"""What the three kinds of task hand to `score`: figures, how to resample them, and remarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isthmus.data.labels import to_names
from isthmus.errors import DataError, UsageError
from isthmus.evaluate.intervals import summarise, undefined
from isthmus.evaluate.resample import Statistic, Units, replicate
from isthmus.types import Array, Interval

Block = Callable[[Array], dict[str, Array]]


@dataclass(frozen=True)
class Figure:
    """One figure, or one a class: its value on the rows and what its interval needs to know.

    Parameters
    ----------
    value : float or ndarray
        Scalar, or (K,) one a class; NaN where undefined.
    reason : str or sequence of str
        Why it is undefined (one a class for arrays); ignored where the value is a number.
    trials, proportion, pivot
        As in `isthmus.evaluate.intervals.summarise`; `trials` is (K,) for arrays.
    how : str
        Remark appended to the interval's origin.
    noise : callable, optional
        Maps (units, n_boot, random_state) to values that noise alone gives where the truth is 0;
        a figure within their bulk has an interval that reaches down to 0.
    """

    value: Any
    reason: Any = ""
    trials: Any = None
    proportion: bool = False
    pivot: bool = False
    how: str = ""
    noise: Callable[[Units, int, int], Array] | None = None


@dataclass
class Measured:
    """All figures of one system on one test set, not yet summarised.

    Parameters
    ----------
    n : int
        Rows.
    classes : tuple of str
        Names that per-class arrays follow.
    figures, per_class : dict of str to Figure
        Scalars, and arrays of one value a class.
    blocks : list of (names, function)
        Each function maps weights (n, b) to the replicates of those names; per-class names are
        prefixed ``per_class.``.
    extras : dict
        JSON-ready parts of the result that have no interval.
    notes : list of str
        Sentences that must stand beside the figures.
    """

    n: int
    classes: tuple[str, ...] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    per_class: dict[str, Figure] = field(default_factory=dict)
    blocks: list[tuple[frozenset[str], Block]] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_block(self, names: Iterable[str], function: Block) -> None:
        """Register a function that resamples the figures of these names."""
        self.blocks.append((frozenset(names), function))

    def add_row_block(self, name: str, statistic: Statistic) -> None:
        """Register the resampler of a single figure."""
        self.add_block([name], lambda weights: {name: statistic(weights)})

    def block_of(self, metric: str) -> Block:
        """The function that resamples `metric`.

        Raises
        ------
        UsageError
            If there is no such figure; the ones there are are listed.
        """
        for names, function in self.blocks:
            if metric in names:
                return function
        known = ", ".join(sorted(name for name in self.figures))
        raise UsageError(f"no figure is called {metric!r}", remedy=f"There are: {known}")

    def summary(
        self, units: Units, *, n_boot: int, level: float, random_state: int
    ) -> dict[str, Any]:
        """Figures as intervals, in the order they were registered, then per-class ones."""

        def statistics(weights: Array) -> Mapping[str, Array]:
            return {k: v for _, block in self.blocks for k, v in block(weights).items()}

        drawn = replicate(statistics, units, n_boot=n_boot, random_state=random_state)
        result: dict[str, Any] = {}
        for name, figure in self.figures.items():
            interval = _interval(figure, None, drawn.get(name), units, level)
            if figure.noise is not None and np.isfinite(interval.low):
                noise = figure.noise(units, n_boot, random_state)
                interval = _above_noise(interval, noise)
            result[name] = interval
        if self.per_class:
            result["per_class"] = {
                label: {
                    name: _interval(figure, k, drawn.get(f"per_class.{name}"), units, level)
                    for name, figure in self.per_class.items()
                }
                for k, label in enumerate(self.classes)
            }
        return result


def _interval(
    figure: Figure, k: int | None, drawn: Array | None, units: Units, level: float
) -> Interval:
    """Summary of a scalar (`k` None) or of the k-th class."""

    def pick(values: Any) -> Any:
        return values if k is None or values is None or isinstance(values, str) else values[k]

    value = float(pick(figure.value))
    if np.isnan(value):
        return undefined(str(pick(figure.reason)), level=level)
    if drawn is None:  # n_boot = 0
        return Interval(value, np.nan, np.nan, level=level, how="no interval: n_boot is 0")
    trials = pick(figure.trials)
    result = summarise(
        value,
        pick(drawn),
        units=units,
        level=level,
        trials=None if trials is None else float(trials),
        proportion=figure.proportion,
        pivot=figure.pivot,
    )
    if not figure.how:
        return result
    return replace(result, how=f"{result.how}; {figure.how}")


def _above_noise(interval: Interval, noise: Array) -> Interval:
    """Say what noise alone would give, and reach down to 0 where that explains the value."""
    low = 0.0 if interval.value <= np.quantile(noise, interval.level) else interval.low
    how = f"{interval.how}; noise alone would give {noise.mean():.3g}"
    return replace(interval, low=low, how=how)


def as_names(values: Any, *, where: str) -> Array:
    """(n,) labels as names, so that 1, 1.0 and "1" are the same class.

    Raises
    ------
    DataError
        If a label is missing (None, NaN, empty): a row without truth cannot be scored.
    """
    names, _ = to_names(values)
    missing = [row for row, name in enumerate(names) if name is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} rows have no label",
            where=where,
            why=f"the first is row {missing[0]}",
            remedy="Score the labelled rows only: samples.take(samples.labelled)",
        )
    return names


def harmonic(counts: Array) -> float:
    """Harmonic mean of positive counts: the rows a class that decide a macro average."""
    counts = np.asarray(counts, dtype=float)
    return float(len(counts) / np.sum(1 / counts))


def listed(names: Iterable[str], *, most: int = 8) -> str:
    """``'a', 'b' and 3 more``."""
    names = list(names)
    text = ", ".join(repr(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
