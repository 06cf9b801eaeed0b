"""Layer 2: one column of a table as it came -> numbers, dates or names, whatever its dtype.

The same values give the same result from pandas or polars, from a CSV file or from memory: 1,
1.0 and "1" are one number, or one name where the column holds names.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from isthmus.data.labels import name_of
from isthmus.errors import DataError
from isthmus.types import Array

# What stands for "missing" in text, after white space is removed; pandas' own list, and skrub's.
NULLS = frozenset(
    (
        "",
        *("?", "...", "null", "NULL", "none", "None", "nan", "NaN", "-nan", "-NaN"),
        *("NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>"),
        *("1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND", "NaT"),
    )
)
_NUMBERS = ("integer", "floating", "mixed-integer-float", "boolean", "decimal")
_TRUTH = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}
_DATES = ("datetime", "datetime64", "date")


@dataclass(frozen=True)
class Plain:
    """A column in one of three forms.

    Parameters
    ----------
    kind : {"number", "date", "name"}
    values : ndarray or Series
        (n,) float64 with NaN; a datetime Series with NaT; or (n,) object of str and None.
    category : bool
        The user declared it categorical, so that even digits are names.
    """

    kind: Literal["number", "date", "name"]
    values: Any
    category: bool = False

    @property
    def missing(self) -> Array:
        """(n,) bool."""
        return np.asarray(pd.isna(self.values), dtype=bool)


def as_pandas(frame: Any) -> pd.DataFrame:
    """A pandas frame with text column names; polars frames are converted.

    Raises
    ------
    DataError
        If it is no frame, is empty, or two columns have the same name.
    """
    if not isinstance(frame, pd.DataFrame):
        if not hasattr(frame, "to_pandas") or not hasattr(frame, "columns"):
            raise DataError(
                f"expected a pandas or polars frame, got {type(frame).__name__}",
                remedy="Use pandas.DataFrame(...)",
            )
        frame = frame.to_pandas()
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two columns have the name {twice[0]!r}", remedy="Rename one of them")
    if not names:
        raise DataError("the table has no columns")
    made = frame.copy(deep=False)
    made.columns = pd.Index(names)
    return made.reset_index(drop=True)


def plain(column: pd.Series, *, where: str) -> Plain:
    """Numbers, dates or names.

    Parameters
    ----------
    column : Series
        Any dtype. Booleans and durations (in seconds) become numbers.
    where : str
        Its name, for messages.

    Raises
    ------
    DataError
        If it holds lists, arrays, complex numbers or undecodable bytes.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return Plain("name", _names(column.astype(object), where), category=True)
    if pd.api.types.is_complex_dtype(dtype):
        raise DataError("complex numbers cannot be used", where=where)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return Plain("number", column.to_numpy(dtype=np.float64, na_value=np.nan))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return Plain("date", column)
    if pd.api.types.is_timedelta64_dtype(dtype):
        return Plain("number", column.dt.total_seconds().to_numpy(np.float64))
    if isinstance(dtype, pd.PeriodDtype):
        return Plain("date", column.dt.to_timestamp())
    return _of_objects(column.astype(object), where)


def _of_objects(column: pd.Series, where: str) -> Plain:
    """A column of Python objects, by what they are."""
    found = pd.api.types.infer_dtype(column, skipna=True)
    if found in _NUMBERS:
        values = [np.nan if pd.isna(v) else float(v) for v in column]
        return Plain("number", np.array(values, dtype=np.float64))
    if found in _DATES:
        return Plain("date", pd.to_datetime(column))
    if found in ("timedelta", "timedelta64"):
        return Plain("number", pd.to_timedelta(column).dt.total_seconds().to_numpy(np.float64))
    if found == "time":
        return Plain("number", np.array([_seconds(v) for v in column], dtype=np.float64))
    if found not in ("string", "empty"):
        for row, value in enumerate(column):
            if isinstance(value, (list, dict, set, tuple, np.ndarray, complex)):
                raise DataError(
                    f"a cell holds a {type(value).__name__}",
                    where=f"{where}, row {row + 1}",
                    remedy="Give each of its values a column, or leave the column out",
                )
            if isinstance(value, bytes):
                _decoded(value, f"{where}, row {row + 1}")
    return Plain("name", _names(column, where))


def _seconds(value: Any) -> float:
    if not isinstance(value, datetime.time):
        return np.nan
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def _decoded(value: bytes, where: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            "a cell holds bytes that are not UTF-8", where=where, why=str(error)
        ) from None


def _names(column: pd.Series, where: str) -> Array:
    """(n,) object array of names and None; each different value is looked at once."""
    # True, 1 and 1.0 are one key to pandas and three names, so the type goes with the value.
    cache: dict[tuple[type, Any], str | None] = {}
    made = np.empty(len(column), dtype=object)
    for row, value in enumerate(column):
        key = (type(value), value)
        if key not in cache:
            name = name_of(value)
            if name is not None and not _is_text(name):
                raise DataError(
                    "a cell holds halves of characters (lone surrogates)",
                    where=f"{where}, row {row + 1}",
                    why="the file was decoded with the wrong encoding",
                    remedy="Read it again with --encoding",
                )
            cache[key] = None if name is None or name in NULLS else name
        made[row] = cache[key]
    return made


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def numbers(column: Plain) -> tuple[Array, list[str]]:
    """(n,) float64 with NaN for what is missing, and the names that are no numbers."""
    if column.kind == "number":
        return column.values, []
    if column.kind == "date":
        return np.full(len(column.values), np.nan), [str(v) for v in column.values.dropna()]
    # a CSV file writes truth values as words
    words = np.array([_TRUTH.get(v, v) for v in column.values], dtype=object)
    parsed = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce")
    values = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
    return values, [str(v) for v in column.values[np.isnan(values) & ~column.missing]]


def names(column: Plain) -> Array:
    """(n,) object array of str and None."""
    if column.kind == "name":
        return column.values
    if column.kind == "number":
        return _names(pd.Series(column.values, dtype=object), "")
    texts = [None if pd.isna(v) else v.isoformat() for v in column.values]
    return np.array(texts, dtype=object)


def dates(column: Plain, *, format: str | None, zone: str | None) -> tuple[pd.Series, list[str]]:
    """Datetimes in one time zone, and the values that are no dates.

    Parameters
    ----------
    format : str or None
        ``strptime`` format of texts; None: ISO 8601.
    zone : str or None
        Time zone of the result; None: dates without one. A date with a zone is converted (to UTC
        where the result has none); a date without one is taken to be in `zone`.
    """
    if column.kind == "number":
        values = column.values
        found = pd.Series(pd.NaT, index=range(len(values)), dtype="datetime64[us]")
        return found, [str(v) for v in values[~np.isnan(values)]]
    if column.kind == "date":
        found = column.values
        bad: list[str] = []
    else:
        texts = pd.Series(column.values, dtype=object)
        aware = zone is not None or (format is not None and "%z" in format)
        found = pd.to_datetime(texts, format=format or "ISO8601", errors="coerce", utc=aware)
        bad = [str(v) for v in column.values[found.isna().to_numpy() & ~column.missing]]
    if zone is not None:
        found = found.dt.tz_localize(zone) if found.dt.tz is None else found.dt.tz_convert(zone)
    elif found.dt.tz is not None:
        found = found.dt.tz_convert("UTC").dt.tz_localize(None)
    return found, bad
