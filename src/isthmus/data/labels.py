"""Layer 1: labels are names, never positions: one name for 1, 1.0 and "1", and a note when so.

What is merged, always with a note: surrounding white space, Unicode compositions of the same text
(NFC) and whole numbers in any spelling (1, 1.0, "1", "1.0"). What is never merged: upper and
lower case, inner spaces and leading zeros ("Cat"/"cat", "01"/"1"); these are reported as near
collisions, because only the user knows whether they are one class.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import plain_repr
from isthmus.types import Array

_WHOLE = re.compile(r"([+-]?)(\d+)\.0+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_EXACT = 1e15  # whole floats below this print as the integer they are


def is_missing(value: Any) -> bool:
    """None, NaN, NaT, pandas' NA and strings of white space only: no label at all."""
    if value is None:
        return True
    if isinstance(value, (str, bytes)):
        return not value.strip()
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return type(value).__name__ in {"NAType", "NaTType"}


def name_of(value: Any) -> str | None:
    """The name of one label value, or None for a missing one.

    >>> [name_of(v) for v in (1, 1.0, "1", " 1.0 ", "cat ", 0.5, True, None)]
    ['1', '1', '1', '1', 'cat', '0.5', 'True', None]
    """
    if is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        whole = number.is_integer() and abs(number) < _EXACT
        return str(int(number)) if whole else str(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = unicodedata.normalize("NFC", str(value)).strip()
    if not text:
        return None
    whole_text = _WHOLE.fullmatch(text)
    if whole_text:
        sign, digits = whole_text.groups()
        return ("-" if sign == "-" and digits.strip("0") else "") + digits
    return text


def natural_sorted(names: Iterable[str]) -> list[str]:
    """Names in a fixed order: numbers by value (1, 2, 10), then all others as text.

    >>> natural_sorted(["10", "9", "1"])
    ['1', '9', '10']
    """

    def key(name: str) -> tuple[int, float, str]:
        return (0, float(name), name) if _NUMBER.fullmatch(name) else (1, 0.0, name)

    return sorted(names, key=key)


@dataclass(frozen=True)
class Distinct:
    """A column as its different values: what depends on the values is done once for each.

    Parameters
    ----------
    codes : ndarray of shape (n,), int64
        Position in `values` per row; -1 = missing.
    values : list
        Different values as they were read, by first appearance; 1, 1.0, "1" and True differ.
    """

    codes: Array
    values: list[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def counts(self) -> list[int]:
        """Rows per value."""
        found = np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))
        return [int(count) for count in found]

    def mapped(self, results: Sequence[Any], missing: Any = None) -> Array:
        """(n,) object array of one result per value."""
        table = np.empty(len(self.values) + 1, dtype=object)
        for code, result in enumerate(results):
            table[code] = result
        table[-1] = missing
        return np.asarray(table[self.codes])


def distinct_of(values: Any) -> Distinct:
    """Find the different values of a column; `Distinct` passes through."""
    if isinstance(values, Distinct):
        return values
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind in "iufU" or type(getattr(values, "dtype", None)).__name__ == "StringDtype":
        import pandas as pd

        codes, found = pd.factorize(values)
        return Distinct(np.asarray(codes, dtype=np.int64), found.tolist())
    known: dict[Any, int] = {}
    different: list[Any] = []
    rows = values.to_list() if hasattr(values, "to_list") else list(values)
    codes = np.empty(len(rows), dtype=np.int64)
    for row, value in enumerate(rows):
        # 1 == 1.0 == True as dictionary keys, so the type is part of the key
        key = (type(value), value if value.__hash__ is not None else str(value))
        code = known.get(key)
        if code is None:
            if not hasattr(value, "__len__") and is_missing(value):
                code = -1
            else:
                code = len(different)
                different.append(value)
            known[key] = code
        codes[row] = code
    return Distinct(codes, different)


def to_names(values: Any) -> tuple[Array, tuple[str, ...]]:
    """Label values -> names.

    Parameters
    ----------
    values : array-like of shape (n,), or Distinct
        Numbers, strings, booleans, pandas or polars columns; mixed types are allowed.

    Returns
    -------
    names : ndarray of shape (n,), dtype object
        A str per labelled row, None where the value is missing (None, NaN, "").
    classes : tuple of str
        The names that occur, in natural order.
    """
    column = distinct_of(values)
    names = [name_of(value) for value in column.values]
    classes = natural_sorted({name for name in names if name is not None})
    return column.mapped(names), tuple(classes)


def name_notes(values: Any, *, what: str = "label") -> list[str]:
    """Sentences on spellings that became one name, and on names that nearly are one.

    Parameters
    ----------
    values : array-like of shape (n,), or Distinct
        The values as they were read, before `to_names`.
    what : str, default="label"
        How the sentences call the column.
    """
    column = distinct_of(values)
    spelled: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for value, count in zip(column.values, column.counts()):
        name = name_of(value)
        if name is not None:
            form = (_kind(value), plain_repr(value))
            spelled[name][form] = spelled[name].get(form, 0) + count
    notes = []
    for name in natural_sorted(name for name, forms in spelled.items() if len(forms) > 1):
        listed = ", ".join(
            f"{kind} {form} ({count} rows)" for (kind, form), count in spelled[name].items()
        )
        notes.append(f"the {what} {name!r} is written in several ways, read as one: {listed}")
    totals = {name: sum(forms.values()) for name, forms in spelled.items()}
    near: dict[str, list[str]] = defaultdict(list)
    for name in totals:
        near[_loose(name)].append(name)
    for names in (natural_sorted(names) for names in near.values() if len(names) > 1):
        listed = " and ".join(f"{name!r} ({totals[name]} rows)" for name in names)
        notes.append(
            f"the {what}s {listed} differ only in case, spaces or leading zeros: they are kept "
            "apart; give them one spelling if they are one class"
        )
    return notes


def to_indicator(lists: Sequence[Sequence[Any] | None]) -> tuple[Array, tuple[str, ...]]:
    """Lists of label values -> (n, k) bool and the k class names in natural order.

    A row without any value (None or an empty list) is a row of False: none of the classes.
    """
    named = [[name_of(v) for v in row] if row is not None else [] for row in lists]
    classes = natural_sorted({name for row in named for name in row if name is not None})
    column = {name: index for index, name in enumerate(classes)}
    indicator = np.zeros((len(named), len(classes)), dtype=bool)
    for row, names in enumerate(named):
        for name in names:
            if name is not None:
                indicator[row, column[name]] = True
    return indicator, tuple(classes)


def _kind(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "truth value"
    if isinstance(value, (int, float, np.number)):
        return "number"
    return "text"


def _loose(name: str) -> str:
    """Key under which names collide: compatibility form, case, inner spaces, leading zeros."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return text.lstrip("0") or "0" if text.isdigit() else text
