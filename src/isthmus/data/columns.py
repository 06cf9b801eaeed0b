"""Layer 1: raw table columns -> numbers or categories, with every repair counted in words."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.labels import is_missing, name_of

if TYPE_CHECKING:
    import pandas as pd

# what stands for "missing" in any column, and what does so only among numbers: in a column of
# words "none" or "-" may well be an answer
MISSING = frozenset(
    ["", "?", "na", "n/a", "#n/a", "nan", "null", "<na>", "#na", "nat", "#value!", "#div/0!"]
)
MISSING_AMONG_NUMBERS = MISSING | {"none", "-", "--", ".", "missing", "unknown", "n.a."}
_SHOWN = 5
_MOSTLY = 0.9  # share of numbers above which the remaining words count as missing
_CODES = (-9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


@dataclass
class Report:
    """What `clean` noticed: missing values by column and token, and sentences."""

    missing: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)


def clean(frame: pd.DataFrame) -> tuple[pd.DataFrame, Report]:
    """Make every column float64, datetime, or str with None for missing.

    Parameters
    ----------
    frame : DataFrame of shape (n, d)
        Not modified.

    Returns
    -------
    cleaned : DataFrame of shape (n, d)
    report : Report
        Missing tokens (``?``, ``NA``, an empty cell, ...), mixed types, decimal commas, constant
        columns, zeros and codes that look like missing values.
    """
    import pandas as pd

    report = Report()
    columns = {name: _column(frame[name], str(name), report) for name in frame.columns}
    cleaned = pd.DataFrame(columns, index=frame.index)
    for name in cleaned.columns:
        _remark(cleaned[name], str(name), report)
    for names, state in ((report.empty, "empty"), (report.constant, "constant")):
        if names:
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            count = "1 column is" if len(names) == 1 else f"{len(names):,} columns are"
            report.notes.append(f"{count} {state}: {shown}")
    return cleaned, report


def to_numbers(series: pd.Series) -> pd.Series:
    """float64 with NaN where a value is missing or no number; decimal commas are understood."""
    report = Report()
    found = _column(series, str(series.name), report, force_numbers=True)
    return found.astype("float64")


def _column(
    series: pd.Series, name: str, report: Report, *, force_numbers: bool = False
) -> pd.Series:
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(series.dtype) and not force_numbers:
        return series.map(name_of).astype(object)
    if pd.api.types.is_numeric_dtype(series.dtype):
        values = series.astype("Float64") if _nullable(series) else series
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return _finite(pd.Series(numbers, index=series.index, name=series.name), name, report)
    if pd.api.types.is_datetime64_any_dtype(series.dtype) and not force_numbers:
        _count_missing(report, name, {"": int(series.isna().sum())})
        return series
    return _from_objects(series, name, report, force_numbers)


def _from_objects(series: pd.Series, name: str, report: Report, force: bool) -> pd.Series:
    """A column of strings, or of mixed Python objects."""
    import pandas as pd

    if series.dtype == object:
        text = _as_strings(series, name, report)
    else:
        text = series.astype("str")
    text = text.str.strip()
    blank = text.isna()
    lowered = text.fillna("").str.lower()
    loose = lowered.isin(list(MISSING_AMONG_NUMBERS)) | blank
    rest = text[~loose]
    numbers = pd.to_numeric(rest, errors="coerce").astype("float64")
    if len(rest) and numbers.isna().any():
        numbers = _with_commas(rest, numbers, name, report)
    share = float(numbers.notna().mean()) if len(rest) else 1.0
    if (len(rest) or force) and (share == 1.0 or share >= _MOSTLY or force):
        if share < 1.0 and not force:
            odd = rest[numbers.isna()]
            shown = ", ".join(map(repr, list(dict.fromkeys(odd.tolist()))[:3]))
            report.notes.append(
                f"column {name!r}: {len(odd):,} of {len(rest):,} values are not numbers ({shown}) "
                "and are read as missing"
            )
        _count_missing(report, name, text[loose].fillna("").value_counts().to_dict())
        full = pd.Series(np.nan, index=series.index, name=series.name, dtype="float64")
        full.loc[~loose] = numbers
        return _finite(full, name, report, counted=True)
    strict = lowered.isin(list(MISSING)) | blank
    _count_missing(report, name, text[strict].fillna("").value_counts().to_dict())
    if len(rest) and share > 0.05:
        report.notes.append(
            f"column {name!r}: {100 * share:.0f} % of the values are numbers, the others words: "
            "it is read as words"
        )
    words = text.astype(object)
    words[strict] = None
    return words


def _as_strings(series: pd.Series, name: str, report: Report) -> pd.Series:
    """Objects of any type -> strings; 1, 1.0 and "1" become the same one."""
    import pandas as pd

    values = series.tolist()
    kinds: Counter[str] = Counter()
    texts: list[str | None] = []
    for value in values:
        if isinstance(value, str):
            kinds["text"] += 1
            texts.append(value)
        elif isinstance(value, (list, tuple, dict, set, np.ndarray)):
            kinds["lists"] += 1
            texts.append(json.dumps(_plain(value), default=str, sort_keys=True))
        elif is_missing(value):
            texts.append(None)
        else:
            kinds["numbers" if isinstance(value, (int, float, np.number)) else "other"] += 1
            texts.append(name_of(value))
    if kinds["lists"]:
        report.notes.append(f"column {name!r} holds {kinds['lists']:,} lists, read as their text")
    if kinds["text"] and kinds["numbers"]:
        report.notes.append(
            f"column {name!r} mixes types: {kinds['numbers']:,} numbers and {kinds['text']:,} "
            'texts; 1 and "1" are read as the same value'
        )
        texts = [t if t is None else name_of(t) for t in texts]
    return pd.Series(texts, index=series.index, name=series.name, dtype="str")


def _with_commas(rest: pd.Series, numbers: pd.Series, name: str, report: Report) -> pd.Series:
    """Decimal commas (1,5 and 1.234,5) or thousands commas (1,234), where a column fits wholly."""
    import pandas as pd

    failed = rest[numbers.isna()]
    failed = failed[failed.str.contains(",", regex=False)]
    if not len(failed):
        return numbers
    values = failed.tolist()
    if all(_GROUPED.fullmatch(v) for v in values):
        report.notes.append(
            f"column {name!r}: commas are read as thousands separators ({values[0]!r}); every "
            "comma stands before three digits"
        )
        mended = failed.str.replace(",", "", regex=False)
    elif all(_COMMA.fullmatch(v) for v in values):
        report.notes.append(f"column {name!r}: numbers with a decimal comma ({values[0]!r})")
        mended = failed.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    else:
        return numbers
    numbers = numbers.copy()
    numbers.loc[failed.index] = pd.to_numeric(mended, errors="coerce").astype("float64")
    return numbers


def _finite(numbers: pd.Series, name: str, report: Report, *, counted: bool = False) -> pd.Series:
    infinite = np.isinf(numbers.to_numpy())
    if infinite.any():
        numbers = numbers.mask(infinite)
        report.notes.append(
            f"column {name!r}: {int(infinite.sum()):,} infinite values are read as missing"
        )
    if not counted:
        _count_missing(report, name, {"": int(numbers.isna().sum() - infinite.sum())})
    return numbers


def _remark(series: pd.Series, name: str, report: Report) -> None:
    """Notes on a clean column: constant, empty, zeros and codes that may mean "missing"."""
    present = series.dropna()
    if not len(present):
        report.empty.append(repr(name))
        return
    numeric = series.dtype == np.float64
    values = present.to_numpy()
    low, high = (float(values.min()), float(values.max())) if numeric else (0.0, 1.0)
    if len(series) > 1 and (low == high if numeric else present.nunique() == 1):
        extra = "" if len(present) == len(series) else " or missing"
        shown = f"{low:g}" if numeric else repr(present.iloc[0])
        report.constant.append(f"{name!r} ({shown}{extra})")
    if not numeric or low == high:
        return
    if low == 0:
        _remark_zeros(values, name, report)
    for code in (low, high):
        if code not in _CODES:
            continue
        others = values[values != code]
        spread = float(others.max() - others.min())
        far = code < others.min() - spread if code == low else code > others.max() + spread
        if len(np.unique(others)) >= 3 and (far or code < 0 <= others.min()):
            report.notes.append(
                f"column {name!r}: {len(values) - len(others):,} values are {code:g}, far from all "
                "others: is it a code for missing?"
            )


def _remark_zeros(values: np.ndarray, name: str, report: Report) -> None:
    """A measurement whose smallest other value is far from zero does not reach zero by itself."""
    rest = values[values != 0]
    zeros = len(values) - len(rest)
    if rest.min() > 0.2 * float(np.median(rest)) > 0 and len(np.unique(rest)) > 10:
        report.notes.append(
            f"column {name!r}: {zeros:,} {'zero' if zeros == 1 else 'zeros'} in a positive "
            f"column (the next value is {rest.min():g}): missing values?"
        )


def _count_missing(report: Report, name: str, counts: dict[Any, int]) -> None:
    found = {str(token) or "empty": int(count) for token, count in counts.items() if count}
    if found:
        report.missing[name] = found


def _nullable(series: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.is_extension_array_dtype(series.dtype)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value
