"""Layer 1: ISX027: missing values in the disguise of numbers, NaN turned into zeros, overflow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.data.samples import Samples
from isthmus.types import Array

STAND_INS = (0.0, -1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)
HUGE = 1e30
LEAST_SHARE, LEAST_VALUES = 0.005, 10


def find(view: RawView) -> Iterable[Finding]:
    """Columns with a lonely stand-in value, rows of zeros, values beyond the number range."""
    if view.modality not in ("table", "features"):
        return
    for role, part in view.parts():
        yield from _read_as_missing(part)
        found = view.numbers(part)
        if found is None:
            continue
        names, matrix = found
        broken = ~np.isfinite(matrix) if view.modality == "features" else np.isinf(matrix)
        wild = (np.abs(np.where(np.isfinite(matrix), matrix, 0)) > HUGE) | broken
        if wild.any():
            yield Finding(
                "ISX027",
                "error",
                f"{int(wild.sum())} {role} values are infinite, NaN or beyond {HUGE:g}",
                f"in {int(wild.any(axis=1).sum())} rows; first column {names[_first(wild)]!r}",
                where=part.origin,
                remedy="Leave the cells empty, or mend what made them (log of 0, division by 0)",
                rows=tuple(part.ids[row] for row in np.flatnonzero(wild.any(axis=1))),
            )
            continue
        if view.modality == "features":
            zero = np.flatnonzero(~matrix.any(axis=1))
            if len(zero) >= max(2, 0.01 * len(matrix)):
                yield Finding(
                    "ISX027",
                    "warning",
                    f"{len(zero)} of {len(matrix)} {role} rows are all zeros",
                    "features that failed and were filled with zeros look like this",
                    where=part.origin,
                    remedy="Leave these rows out, or compute their features anew",
                    rows=tuple(part.ids[row] for row in zero),
                )
        elif role != "test":
            for column, name in enumerate(names):
                yield from _stand_ins(view, role, name, matrix[:, column], part.origin)


def _read_as_missing(part: Samples) -> Iterable[Finding]:
    """Infinite cells, which the reader turned into missing ones."""
    for note in part.understood.get("notes") or []:
        if "infinite values are read as missing" in str(note):
            yield Finding(
                "ISX027",
                "warning",
                str(note),
                "a division by zero, or an overflow, made them",
                where=part.origin,
                remedy="Mend what made them, or leave the cells empty",
            )


def _first(wild: Array) -> int:
    return int(wild.any(axis=0).argmax())


def stand_in(column: Array) -> tuple[float, int] | None:
    """(value, rows) of a stand-in for "missing" in a column; None where there is none.

    It lies alone at one end: the gap to the nearest other value is larger than the spread (the
    interquartile range) of all others, of which there are many different ones.
    """
    values = column[np.isfinite(column)]
    if len(values) < 20:
        return None
    for value in {values.min(), values.max()} & set(STAND_INS):
        others = values[values != value]
        count = len(values) - len(others)
        if len(np.unique(others)) < LEAST_VALUES or count < LEAST_SHARE * len(values):
            continue
        low, high = np.percentile(others, [25, 75])
        gap = float(np.abs(others - value).min())
        if gap > max(high - low, 0.15 * (others.max() - others.min())):
            return float(value), int(count)
    return None


def _stand_ins(view: RawView, role: str, name: str, column: Array, where: str) -> Iterable[Finding]:
    found = stand_in(column)
    if found is None and len(column) >= 20 and not np.nan_to_num(column).any():
        found = _dead_here(view, role, name, column)
    if found is None:
        return
    value, count = found
    if count < 2:
        return
    yield Finding(
        "ISX027",
        "warning",
        f"{value:g} stands for a missing value in column {name!r} of the {role}, as it seems",
        f"{count} of {len(column)} rows; no other value lies near it",
        where=where,
        remedy="Leave these cells empty",
        figures={"value": value, "rows": count},
    )


def _dead_here(view: RawView, role: str, name: str, column: Array) -> tuple[float, int] | None:
    """All zero in this part, and many different positive values in another one."""
    for other, part in view.parts():
        found = view.numbers(part)
        if other == role or found is None or name not in found[0]:
            continue
        values = found[1][:, found[0].index(name)]
        values = values[np.isfinite(values) & (values != 0)]
        if len(np.unique(values)) >= LEAST_VALUES and values.min() > 0:
            return 0.0, len(column)
    return None
