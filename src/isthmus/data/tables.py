"""Layer 1: table files and frames in memory -> `Sheet`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.data.delimited import TRAILING, parse
from isthmus.data.options import Options
from isthmus.data.samples import Problem
from isthmus.data.sheet import Sheet, understand, unique_names
from isthmus.data.text import decode
from isthmus.data.usual import is_usual, text_columns
from isthmus.errors import DataError, UsageError, need

if TYPE_CHECKING:
    import pandas as pd

DELIMITED = frozenset([".csv", ".tsv", ".tab", ".psv", ".txt"])
JSON = frozenset([".jsonl", ".ndjson", ".json"])
PARQUET = frozenset([".parquet", ".pq"])
_BOMB_CELLS, _BOMB_RATIO = 100_000_000, 1_000
TABLE_SUFFIXES = DELIMITED | JSON | PARQUET


def read_file(path: Path, options: Options, *, name: str | None = None) -> Sheet:
    """Read one table file.

    Parameters
    ----------
    path : Path
        A file with one of `TABLE_SUFFIXES`.
    name : str, optional
        What its rows are called by; the file's own name unless given.

    Raises
    ------
    DataError
        If the file is not what its suffix says, or holds no rows.
    """
    name = name or path.name
    suffix = path.suffix.lower()
    raw = _bytes(path)
    if suffix in PARQUET:
        sheet = _parquet(raw, name)
    elif suffix in JSON:
        sheet = _json(raw, name, options)
    else:
        sheet = parse(
            raw,
            name=name,
            suffix=suffix,
            encoding=options.encoding,
            delimiter=options.delimiter,
            header=options.header,
            as_text=lambda names: text_columns(names, options),
            is_role=lambda column: is_usual(column) or column in _asked(options),
        )
        if TRAILING in sheet.frame.columns:
            sheet.frame = sheet.frame.drop(columns=TRAILING)
    sheet.root = Path(options.root) if options.root is not None else path.parent
    sheet.rooted = options.root is not None
    return sheet


def from_frame(frame: Any, options: Options, *, name: str = "frame") -> Sheet:
    """A pandas or polars frame, a list of dicts or a dict of columns -> `Sheet`.

    Rows are called ``frame[0]``, ``frame[1]``, ... by position.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        if hasattr(frame, "collect") and type(frame).__module__.startswith("polars"):
            frame = frame.collect()
        if hasattr(frame, "to_dict") and type(frame).__module__.startswith("polars"):
            frame = {column.name: column.to_list() for column in frame.get_columns()}
        frame = pd.DataFrame(frame)
    if frame.columns.nlevels > 1:
        raise UsageError(
            "the frame has several levels of column names",
            where=name,
            remedy="Flatten them, e.g. frame.columns = ['_'.join(c) for c in frame.columns]",
        )
    if not len(frame):
        raise DataError("the table has no rows", where=name)
    sheet = Sheet.empty(name)
    columns = unique_names(frame.columns, sheet.notes)
    sheet.frame = frame.reset_index(drop=True).set_axis(columns, axis=1)
    sheet.places = [f"{name}[{row}]" for row in range(len(frame))]
    sheet.seen = len(frame)
    sheet.root = Path(options.root) if options.root is not None else None
    sheet.rooted = options.root is not None
    return sheet


def combine(sheets: Sequence[Sheet], role: str, values: Sequence[str], name: str) -> Sheet:
    """Several tables below each other; the file each row comes from fills `role`.

    Raises
    ------
    DataError
        If the tables have different columns.
    """
    import pandas as pd

    first = sheets[0]
    for other in sheets[1:]:
        differing = set(first.frame.columns) ^ set(other.frame.columns)
        if differing:
            raise DataError(
                f"the tables {first.name} and {other.name} have different columns",
                where=name,
                why=f"only one of them has {', '.join(sorted(map(repr, differing)))}",
                remedy="Read them one by one",
            )
    sheet = Sheet.empty(name)
    column = unique_names([*first.frame.columns, f"{role} (file)"], [])[-1]
    frames = [s.frame.assign(**{column: value}) for s, value in zip(sheets, values, strict=True)]
    sheet.frame = pd.concat(frames, ignore_index=True)
    sheet.places = [place for s in sheets for place in s.places]
    sheet.problems = [problem for s in sheets for problem in s.problems]
    sheet.seen = sum(s.seen for s in sheets)
    sheet.root, sheet.rooted = first.root, first.rooted
    sheet.understood = dict(first.understood)
    sheet.understood["files"] = understand(
        [s.name for s in sheets], "tables with the same columns", ""
    )
    sheet.understood[role] = understand(list(values), "the names of the files", f"--{role}")
    sheet.parts = [len(s.frame) for s in sheets]
    sheet.notes = [f"{s.name}: {note}" for s in sheets for note in s.notes]
    sheet.given = {role: column}
    return sheet


def _asked(options: Options) -> set[str]:
    """Column names that the caller has used: finding one of them proves a header."""
    asked: set[str] = set()
    for role in ("label", "domain", "group", "id", "text", "file", "features"):
        value = options.wanted(role)
        if isinstance(value, str):
            asked |= {value, *(part.strip() for part in value.split(","))}
    return asked


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            "the file cannot be read", where=str(path), why=error.strerror or str(error)
        ) from None


def _json(raw: bytes, name: str, options: Options) -> Sheet:
    """One object per line, or one list of objects."""
    decoded = decode(raw, options.encoding, where=name)
    sheet = Sheet.empty(name)
    sheet.understood["encoding"] = understand(decoded.encoding, decoded.why, "--encoding")
    if not decoded.data.strip():
        raise DataError("the file is empty", where=name)
    text = decoded.data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    listed = text.lstrip()[:1] == "["
    entries = _list_entries(text, name) if listed else _line_entries(text)
    bad_lines = set() if listed else set(decoded.bad_lines.tolist())
    rows: list[dict[str, Any]] = []
    for number, entry in entries:
        place = f"{name}[{number - 1}]" if listed else f"{name}:{number}"
        sheet.seen += 1
        if number - 1 in bad_lines:
            entry = ValueError(f"bytes that are not {decoded.encoding} text")
        if isinstance(entry, Exception):
            sheet.problems.append(Problem(place, str(entry), "Mend the line"))
        elif not isinstance(entry, dict):
            reason = f"a {type(entry).__name__} where an object with named fields is expected"
            sheet.problems.append(Problem(place, reason, 'Write {"text": ..., "label": ...}'))
        else:
            rows.append(entry)
            sheet.places.append(place)
    if not rows:
        faults = [f"{problem.where}: {problem.reason}" for problem in sheet.problems[:1]]
        raise DataError(
            "no row can be read",
            where=name,
            why="".join(faults) or "the list is empty",
            remedy='Write one {"text": ..., "label": ...} a line, or a list of them',
        )
    sheet.frame = _from_dicts(rows, sheet)
    return sheet


def _line_entries(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, _loads(line)
        except (ValueError, RecursionError) as error:
            message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            yield number, ValueError(f"not JSON: {message[:100]}")


def _list_entries(text: str, name: str) -> Iterator[tuple[int, Any]]:
    try:
        entries = _loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            "not JSON",
            where=name,
            why=str(error)[:200],
            remedy="It ends too early or was edited by hand: export it again, or save it as CSV",
        ) from None
    yield from enumerate(entries, start=1)


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=lambda token: None)


def _from_dicts(rows: list[dict[str, Any]], sheet: Sheet) -> pd.DataFrame:
    """Objects -> columns, in the order of first appearance; None where a field is absent."""
    import pandas as pd

    keys = list(dict.fromkeys(key for row in rows for key in row))
    absent = {key: sum(key not in row for row in rows) for key in keys}
    some = {key: count for key, count in absent.items() if count}
    if some:
        shown = ", ".join(f"{key!r} in {count:,} rows" for key, count in some.items())
        sheet.notes.append(f"fields that are absent count as missing: {shown}")
    names = unique_names(keys, sheet.notes)
    columns: dict[str, Any] = {}
    for name, key in zip(names, keys):
        values = [row.get(key) for row in rows]
        plain = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        small = plain and all(-(2**63) < v < 2**63 for v in values if v is not None)
        columns[name] = pd.Series(values, dtype=None if small else object)
    return pd.DataFrame(columns)


def _parquet(raw: bytes, name: str) -> Sheet:
    import io

    from isthmus.data.hub import sheet_from_arrow

    arrow = need("pyarrow", extra="tabular")
    parquet = need("pyarrow.parquet", extra="tabular")
    try:
        described = parquet.ParquetFile(io.BytesIO(raw)).metadata
        cells = described.num_rows * max(described.num_columns, 1)
        if cells > max(_BOMB_CELLS, _BOMB_RATIO * len(raw)):
            raise DataError(
                f"the file of {len(raw):,} bytes claims {described.num_rows:,} rows",
                where=name,
                why="this is how a decompression bomb looks",
                remedy="Save it as CSV if it is yours",
            )
        table = parquet.read_table(io.BytesIO(raw))
    except DataError:
        raise
    except (arrow.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise DataError(
            "not a Parquet file that can be read",
            where=name,
            why=str(error)[:200],
            remedy="Copy or export it again; if it is another kind of file, give it its own suffix",
        ) from None
    if not table.num_rows:
        raise DataError("the file has no rows", where=name)
    return sheet_from_arrow(table, name)
