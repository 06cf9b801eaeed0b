"""Layer 1: a label made from a number: ``--label 'num>0'`` reads column `num` as two classes."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING

import numpy as np

from isthmus.data.columns import to_numbers
from isthmus.errors import UsageError
from isthmus.types import Array

if TYPE_CHECKING:
    import pandas as pd

_FORM = re.compile(r"^\s*(?P<column>.+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<value>[-+]?[\d.]+)\s*$")
_SIGNS = {
    ">": (operator.gt, "<="),
    ">=": (operator.ge, "<"),
    "<": (operator.lt, ">="),
    "<=": (operator.le, ">"),
}


def parse(label: str) -> tuple[str, str, float] | None:
    """(column, sign, value) of a comparison, or None where the text is none."""
    found = _FORM.match(label)
    if found is None:
        return None
    try:
        return found["column"], found["sign"], float(found["value"])
    except ValueError:
        return None


def compare(series: pd.Series, column: str, sign: str, value: float) -> Array:
    """(n,) names of the two sides: ``num>0`` and ``num<=0``; None where the number is missing."""
    holds, opposite = _SIGNS[sign]
    numbers = to_numbers(series).to_numpy(dtype=float)
    if np.isnan(numbers).all() and series.notna().any():
        raise UsageError(
            f"the column {column!r} holds no numbers",
            where=f"--label {column}{sign}{value:g}",
            why=f"a comparison needs them; the first value is {series.dropna().iloc[0]!r:.60}",
            remedy=f"Compare a column of numbers, or take the column as it is: --label {column}",
        )
    names = np.where(
        holds(numbers, value), f"{column}{sign}{value:g}", f"{column}{opposite}{value:g}"
    ).astype(object)
    names[np.isnan(numbers)] = None
    return names
