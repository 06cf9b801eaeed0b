"""Layer 1: the columns of a table on the way to their roles."""

from __future__ import annotations

from typing import Any

from isthmus.data.look import Look, look
from isthmus.data.options import Options, no_such_column
from isthmus.data.sheet import Sheet, understand


class Columns:
    """Columns of a sheet; `pool` holds those that have no role yet.

    Parameters
    ----------
    sheet : Sheet
        Its `understood` and `notes` take what is decided.
    options : Options
    """

    def __init__(self, sheet: Sheet, options: Options) -> None:
        self.sheet, self.options = sheet, options
        self.frame = sheet.frame
        self.pool: list[str] = list(sheet.frame.columns)
        self.looks: dict[str, Look] = {}
        self.headless = sheet.understood.get("header", {}).get("value") == "no"

    def look(self, column: str) -> Look:
        if column not in self.looks:
            self.looks[column] = look(self.frame[column])
        return self.looks[column]

    def note(self, role: str, value: Any, why: str) -> None:
        self.sheet.understood[role] = understand(value, why, f"--{role}")

    def take(self, column: str, option: str) -> str | None:
        """A column that an option names, out of the pool."""
        if column not in self.frame.columns:
            if option in self.options.optional:
                self.sheet.notes.append(f"there is no column {column!r} here (--{option})")
                self.note(option, None, f"no column {column!r} in this table")
                return None
            raise no_such_column(column, self.frame.columns, option, self.sheet.name)
        if column in self.pool:
            self.pool.remove(column)
        return column
