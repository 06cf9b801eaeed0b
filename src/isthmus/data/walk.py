"""Layer 1: the two ways through a delimited file: pandas' C parser, or record by record."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.samples import Problem
from isthmus.data.scan import Records
from isthmus.data.sheet import Sheet
from isthmus.types import Array

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 500
_LONGEST = 2_000  # physical lines that one quoted field may span before its quote counts as stray
_RAGGED = "Quote fields that hold the delimiter, or complete the row"


class NotAsScanned(Exception):
    """pandas cut the file into other rows than the scan did."""


class Rows:
    """What both ways of walking a file offer."""

    def first(self) -> list[bytes]:
        raise NotImplementedError

    def sample(self) -> list[list[bytes]]:
        raise NotImplementedError

    def usual_width(self, skip: int) -> int:
        raise NotImplementedError

    def frame(
        self, names: list[str], skip: int, sheet: Sheet, as_text: list[str]
    ) -> tuple[pd.DataFrame, Array]:
        raise NotImplementedError


class Fast(Rows):
    """Rows by way of `scan` and pandas' C parser."""

    def __init__(self, data: bytes, delimiter: str, records: Records, bad_lines: Array) -> None:
        self.data, self.delimiter, self.records = data, delimiter, records
        blank = records.ends == records.starts
        after = np.append(records.lines[1:], records.lines[-1] + 1 + data.count(b"\n"))
        first_bad = np.searchsorted(bad_lines, records.lines)
        self.undecodable = np.searchsorted(bad_lines, after) > first_bad
        self.kept = np.flatnonzero(~blank)
        self.blank = int(blank.sum())

    def _cells(self, record: int) -> list[bytes]:
        start, end = self.records.starts[record], self.records.ends[record]
        line = self.data[start:end].decode("latin-1")  # byte for byte; cells are bytes again below
        reader = csv.reader(
            io.StringIO(line, newline=""),
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.records.quoted else csv.QUOTE_NONE,
            skipinitialspace=self.records.padded,
        )
        try:
            return [cell.encode("latin-1") for cell in next(reader)]
        except csv.Error:
            return line.encode("latin-1").split(self.delimiter.encode())

    def first(self) -> list[bytes]:
        return self._cells(int(self.kept[0]))

    def sample(self) -> list[list[bytes]]:
        return [self._cells(int(r)) for r in self.kept[1 : SAMPLE_ROWS // 5]]

    def usual_width(self, skip: int) -> int:
        counts = Counter(self.records.fields[self.kept[skip : skip + 10_000]].tolist())
        return max(counts, key=lambda width: (counts[width], width)) if counts else 0

    def frame(
        self, names: list[str], skip: int, sheet: Sheet, as_text: list[str]
    ) -> tuple[pd.DataFrame, Array]:
        import pandas as pd

        records, rows = self.records, self.kept[skip:]
        ragged = records.fields[rows] != len(names)
        broken = self.undecodable[rows]
        for row in rows[ragged | broken].tolist():
            reason, remedy = _row_reason(
                int(records.fields[row]), len(names), bool(self.undecodable[row]), sheet
            )
            sheet.problems.append(
                Problem(f"{sheet.name}:{int(records.lines[row]) + 1}", reason, remedy)
            )
        spans = np.diff(np.append(records.lines[rows], 0))[:-1]
        if np.any((spans > 1) & ragged[:-1]) and records.needed:
            # a stray pair of quotes may have swallowed whole rows: only a careful walk can tell
            sheet.problems.clear()
            raise NotAsScanned
        if self.blank:
            sheet.notes.append(f"{self.blank:,} blank lines are not rows")
        rows = rows[~(ragged | broken)]
        lines = records.lines[rows]
        self._note_swallowed(rows, len(names), sheet)
        if not len(rows):
            return pd.DataFrame({name: [] for name in names}), lines
        if len(rows) == len(records.starts) - int(self.kept[skip]):  # one block, nothing to drop
            body = self.data[records.starts[rows[0]] :]
        else:
            body = b"\n".join(
                self.data[s:e]
                for s, e in zip(records.starts[rows].tolist(), records.ends[rows].tolist())
            )
        frame = pd.read_csv(
            io.BytesIO(body),
            sep=self.delimiter,
            header=None,
            names=names,
            index_col=False,
            dtype=dict.fromkeys(as_text, str),
            na_filter=False,
            quoting=csv.QUOTE_MINIMAL if records.quoted else csv.QUOTE_NONE,
            skipinitialspace=records.padded,
            skip_blank_lines=False,
            lineterminator="\n",
            low_memory=False,
            engine="c",
            **_exact(pd.__version__),
        )
        if len(frame) != len(rows):
            sheet.problems.clear()
            raise NotAsScanned
        return frame, lines

    def _note_swallowed(self, rows: Array, width: int, sheet: Sheet) -> None:
        """Quoted fields whose inner lines all look like rows: two stray quotes, perhaps."""
        records = self.records
        if not records.needed or width < 2:
            return
        ends = np.append(records.lines[1:], records.lines[-1] + 1)
        sign, suspects = self.delimiter.encode(), []
        for row in rows[(ends - records.lines)[rows] > 4].tolist():
            text = self.data[records.starts[row] : records.ends[row]]
            inner = text.split(b"\n")[1:-1]
            if inner and all(line.count(sign) == width - 1 for line in inner):
                suspects.append((int(records.lines[row]) + 1, len(inner)))
        if suspects:
            line, count = suspects[0]
            sheet.notes.append(
                f"{sheet.name}:{line}: a quoted cell holds {count} lines that look like rows "
                f"themselves ({len(suspects)} such cells): is a quote out of place?"
            )


class Slow(Rows):
    """Rows one by one, for files whose quotes are not well formed.

    A quote that is never closed, or that swallows following lines and so spoils the number of
    fields, costs the row it stands in, never the rows after it.
    """

    def __init__(self, data: bytes, delimiter: str, bad_lines: Array) -> None:
        self.delimiter = delimiter
        text = data.decode("utf-8", "surrogateescape")
        self.lines = [line + "\n" for line in text.removesuffix("\n").split("\n")]
        self.bad = set(bad_lines.tolist())

    def _record(self, line: int) -> tuple[list[str] | None, int]:
        """Cells of the record that starts at `line` (None: never closed) and lines it takes."""
        block = iter(self.lines[line : line + _LONGEST])
        reader = csv.reader(block, delimiter=self.delimiter, strict=False)
        try:
            cells = next(reader)
        except (csv.Error, StopIteration):
            return None, 1
        taken = reader.line_num
        if taken > 1:  # is it one well-formed record, or rows swallowed by a stray quote?
            try:
                whole = self.lines[line : line + taken]
                list(csv.reader(whole, delimiter=self.delimiter, strict=True))
            except csv.Error:
                return None, 1
        return cells, taken

    def _walk(self, limit: int | None = None) -> list[tuple[int, list[str], int]]:
        found: list[tuple[int, list[str], int]] = []
        line = 0
        while line < len(self.lines) and (limit is None or len(found) < limit):
            if self.lines[line] == "\n":
                line += 1
                continue
            cells, taken = self._record(line)
            found.append((line, cells if cells is not None else [], taken))
            line += taken
        return found

    def first(self) -> list[bytes]:
        line, cells, _ = self._walk(1)[0]
        cells = cells or self.lines[line].rstrip("\n").split(self.delimiter)  # a stray quote
        return [c.encode("utf-8", "surrogateescape") for c in cells]

    def sample(self) -> list[list[bytes]]:
        rows = self._walk(SAMPLE_ROWS // 5)[1:]
        return [[c.encode("utf-8", "surrogateescape") for c in cells] for _, cells, _ in rows]

    def usual_width(self, skip: int) -> int:
        counts = Counter(len(cells) for _, cells, _ in self._walk(10_000)[skip:])
        return max(counts, key=lambda width: (counts[width], width)) if counts else 0

    def frame(
        self, names: list[str], skip: int, sheet: Sheet, as_text: list[str]
    ) -> tuple[pd.DataFrame, Array]:
        import pandas as pd

        sheet.notes.append("some quotes are not well formed: the file was read row by row")
        kept: list[list[str]] = []
        numbers: list[int] = []
        line = seen = 0
        while line < len(self.lines):
            if self.lines[line] == "\n":
                line += 1
                continue
            cells, taken = self._record(line)
            if cells is None or (len(cells) != len(names) and taken > 1):
                cells, taken = None, 1
            seen += 1
            if seen > skip:
                undecodable = any(n in self.bad for n in range(line, line + taken))
                if cells is not None and len(cells) == len(names) and not undecodable:
                    kept.append(cells)
                    numbers.append(line)
                else:
                    if cells is None:
                        reason = "a quote that is opened here is not closed in its row"
                        remedy = "Close it, or double quotes that belong to the text"
                    else:
                        reason, remedy = _row_reason(len(cells), len(names), undecodable, sheet)
                    sheet.problems.append(Problem(f"{sheet.name}:{line + 1}", reason, remedy))
            line += taken
        columns = {name: [row[i] for row in kept] for i, name in enumerate(names)}
        return pd.DataFrame(columns, dtype=str), np.array(numbers, dtype=np.int64)


def _row_reason(found: int, expected: int, undecodable: bool, sheet: Sheet) -> tuple[str, str]:
    if undecodable:
        encoding = sheet.understood["encoding"]["value"]
        return (
            f"bytes that are not {encoding} text",
            "Save the file in one encoding, or name it with --encoding",
        )
    return f"the row has {found} fields, expected {expected}", _RAGGED


def _exact(version: str) -> dict[str, Any]:
    """Argument that makes pandas round floats correctly; from 3.1 on it always does."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}
