"""Layer 1: CSV, TSV and their relatives -> a `Sheet`, every odd row named by its line.

The records are found once, with NumPy on the raw bytes (quotes, delimiters, line ends), which
gives the number of fields and the physical line of each row; pandas' C parser then reads the rows
that fit. Only a file whose quotes are not well formed is walked record by record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from isthmus.data.scan import scan
from isthmus.data.sheet import Sheet, understand, unique_names
from isthmus.data.text import Decoded, decode
from isthmus.data.walk import SAMPLE_ROWS, Fast, NotAsScanned, Rows, Slow
from isthmus.errors import DataError, UsageError
from isthmus.types import Array

if TYPE_CHECKING:
    pass

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SPELLED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|", "pipe": "|"}
_SAMPLE_BYTES = 1 << 18
_NUMBER = re.compile(rb"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*")


def parse(
    raw: bytes,
    *,
    name: str,
    suffix: str = ".csv",
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    as_text: Callable[[list[str]], list[str]] = lambda names: [],
    is_role: Callable[[str], bool] = lambda name: False,
) -> Sheet:
    """Parse the bytes of a delimited file.

    Parameters
    ----------
    raw : bytes
        Content of the file.
    name : str
        What the rows are called by: ``name:line``.
    suffix : str, default=".csv"
        Settles ties of the delimiter, and whether a first row of plain words is a header.
    encoding, delimiter, header : optional
        Overrule what would be guessed. The delimiter may be spelled out (``tab``).
    as_text : callable
        Column names -> those that must not be read as numbers (a label ``007`` stays ``007``).
    is_role : callable
        Column name -> whether it is one of the usual names (``label``, ``text``, ...).

    Raises
    ------
    DataError
        If the file is empty, holds a header only, or is not text.
    UsageError
        If encoding or delimiter are unknown.
    """
    decoded = decode(raw, encoding, where=name)
    data, bad_lines = _normal_line_ends(decoded)
    if not data or data.isspace():
        raise DataError("the file is empty", where=name, remedy="Give a file with rows")
    separator, why = _delimiter(data, delimiter, suffix)
    sheet = Sheet.empty(name)
    sheet.understood["encoding"] = understand(decoded.encoding, decoded.why, "--encoding")
    sheet.understood["delimiter"] = understand(
        DELIMITERS.get(separator, separator), why, "--delimiter"
    )
    records = scan(data, separator)
    if separator == "\t" and (records is None or not records.needed):
        records = scan(data, separator, quoting=False)
    if records is not None:
        rows: Rows | None = Fast(data, separator, records, bad_lines)
    else:
        rows = None
    rows = rows or Slow(data, separator, bad_lines)
    first = rows.first()
    has_header, why = _header(first, rows.sample(), header, suffix, is_role)
    sheet.understood["header"] = understand("yes" if has_header else "no", why, "--header")
    width = len(first) if has_header else rows.usual_width(0)
    names = [c.decode("utf-8", "replace") for c in first] if has_header else [""] * width
    names = _fit_names(names, rows, has_header, sheet)
    names = unique_names(names, sheet.notes)
    try:
        frame, lines = rows.frame(names, int(has_header), sheet, as_text(names))
    except NotAsScanned:
        rows = Slow(data, separator, bad_lines)
        frame, lines = rows.frame(names, int(has_header), sheet, as_text(names))
    if not len(frame) and not sheet.problems:
        raise DataError(
            "the file has a header and no rows", where=name, remedy="Give a file with rows"
        )
    if b'\\"' in data:
        sheet.notes.append(
            "some quotes are preceded by a backslash: in CSV a quote inside quotes is doubled, "
            "so such cells may be cut wrongly"
        )
    sheet.frame = frame
    sheet.places = [f"{name}:{line}" for line in (lines + 1).tolist()]
    sheet.seen = len(frame) + len(sheet.problems)
    return sheet


def _normal_line_ends(decoded: Decoded) -> tuple[bytes, Array]:
    """LF line ends; a file without any LF but with CR is an old Mac's."""
    data, bad = decoded.data, decoded.bad_lines
    if b"\r" not in data:
        return data, bad
    if b"\n" not in data:
        return data.replace(b"\r", b"\n"), bad
    return data.replace(b"\r\n", b"\n"), bad


def _delimiter(data: bytes, given: str | None, suffix: str) -> tuple[str, str]:
    if given is not None:
        sign = _SPELLED.get(given.lower(), given)
        if len(sign) != 1 or not sign.isascii() or sign in '"\n\r':
            raise UsageError(
                f"the delimiter {given!r} is not one plain character",
                where="--delimiter",
                remedy="Use comma, semicolon, tab, bar, or the character itself",
            )
        return sign, "given"
    head = data[:_SAMPLE_BYTES]
    if len(data) > len(head):
        head = head[: head.rfind(b"\n") + 1] or head
    usual = {".tsv": "\t", ".tab": "\t", ".psv": "|", ".csv": ","}.get(suffix)
    best: tuple[float, int, str] | None = None
    for sign in DELIMITERS:
        records = scan(head, sign) or scan(head, sign, quoting=False)
        assert records is not None
        counts = records.fields[records.ends > records.starts][:SAMPLE_ROWS]
        if not len(counts) or counts[0] < 2:
            continue
        share = float(np.mean(counts == counts[0]))
        # a delimiter that the suffix promises may have ragged rows; any other must fit well
        if share < (0.3 if sign == usual else 0.8):
            continue
        candidate = (round(share, 2), int(counts[0]), sign)
        best = max(best, candidate) if best is not None else candidate
    if best is None:
        return usual or "\t", "one column: no delimiter cuts the rows evenly"
    share, count, sign = best
    return sign, f"{100 * share:.0f} % of the rows have {count} fields"


def _header(
    first: list[bytes],
    sample: list[list[bytes]],
    given: bool | None,
    suffix: str,
    is_role: Callable[[str], bool],
) -> tuple[bool, str]:
    """Whether the first row names the columns, and why."""
    if given is not None:
        return given, "given"
    names = [cell.decode("utf-8", "replace").strip() for cell in first]
    numeric = [bool(_NUMBER.fullmatch(cell)) for cell in first]
    counted = [name for name in names if name] if not names[0] else names
    if len(counted) > 1 and counted == [str(i) for i in range(len(counted))]:
        return True, "the first row counts the columns: 0, 1, 2, ..."
    filled = [name for name in names if name]
    if any(numeric):
        roles = [name for name in filled if is_role(name)]
        if roles and len(set(filled)) == len(filled):
            return True, f"the first row holds the column name {roles[0]!r}"
        return False, "the first row holds numbers"
    roles = [name for name in filled if is_role(name)]
    if roles:
        return True, f"the first row holds the column name {roles[0]!r}"
    fitting = [row for row in sample if len(row) == len(first)]
    for column in range(len(first)):
        cells = [row[column] for row in fitting if row[column].strip()]
        if cells and all(_NUMBER.fullmatch(cell) for cell in cells):
            return True, "words stand over a column of numbers"
    if suffix == ".txt" or len(filled) < len(names):
        return False, "the first row looks like the others"
    if any(len(name) > 60 for name in filled):
        return False, "the first row holds long text"
    return True, "a table's first row usually names its columns"


def _fit_names(names: list[str], rows: Rows, has_header: bool, sheet: Sheet) -> list[str]:
    """Names for files whose rows all have one field more than their header."""
    if not has_header or rows.usual_width(1) != len(names) + 1:
        return names
    extra = [row[-1].strip() for row in rows.sample() if len(row) == len(names) + 1]
    if not any(extra):
        sheet.notes.append("every row ends in a delimiter: the empty last column is left out")
        return [*names, TRAILING]
    sheet.notes.append("the rows have one field more than the header: the first names the rows")
    return ["row name", *names]


TRAILING = "(empty)"  # the column that a delimiter at the end of each row makes
