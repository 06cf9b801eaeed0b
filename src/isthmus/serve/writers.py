"""Layer 7: predictions as CSV, JSON Lines or JSON.

CSV is opened by people in spreadsheets, which run cells that begin with ``=``, ``+``, ``-`` or
``@`` as formulas. Such texts get a leading apostrophe, unless they are plain numbers (``-1``).
JSON is for machines and keeps every name as it is.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

PROBABILITY = "p({})"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def guard(text: str) -> str:
    """A text that no spreadsheet runs.

    >>> guard("=HYPERLINK(1)"), guard("-1"), guard("-1+cmd"), guard("cat.jpg")
    ("'=HYPERLINK(1)", '-1', "'-1+cmd", 'cat.jpg')
    """
    # Spreadsheets skip leading spaces before they look for a formula.
    if text.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(text.strip(" ")):
        return "'" + text
    return text


def frame_to_csv(frame: pd.DataFrame) -> str:
    """RFC 4180 text with a header; missing values are empty cells, numbers have nine digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([guard(_encodable(str(name))) for name in frame.columns])
    for row in frame.itertuples(index=False, name=None):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def frame_to_jsonl(frame: pd.DataFrame) -> str:
    """One JSON object a line; missing values are null."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in records(frame))
    return "".join(line + "\n" for line in lines)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON-ready dicts; the probability columns become one ``probabilities`` dict."""
    start, end = PROBABILITY.split("{}")
    columns = [str(name) for name in frame.columns]
    found = []
    for values in frame.itertuples(index=False, name=None):
        row: dict[str, Any] = {}
        for name, value in zip(columns, values, strict=True):
            if name.startswith(start) and name.endswith(end):
                inner = name[len(start) : len(name) - len(end)]
                row.setdefault("probabilities", {})[_encodable(inner)] = _value(value)
            else:
                row[_encodable(name)] = _value(value)
        found.append(row)
    return found


def _cell(value: Any) -> str:
    value = _value(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.9g}"
    return guard(value) if isinstance(value, str) else str(value)


def _value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    return None if text in ("<NA>", "NaT") else _encodable(text)


def _encodable(text: str) -> str:
    """File names that are not UTF-8 reach Python with surrogates, which no text file can hold."""
    return text.encode("utf-8", "backslashreplace").decode()
