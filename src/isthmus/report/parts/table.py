"""Layer 7: a table that a reader can sort and copy, and the data behind a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(
    name: str,
    caption: str,
    columns: Sequence[tuple[str, bool]],
    rows: Iterable[Sequence[Any]],
    *,
    first: bool = True,
) -> dict[str, Any]:
    """What the template's macro takes.

    Parameters
    ----------
    name : str
        Of its id and of the CSV file.
    caption : str
    columns : list of (title, is a number)
    rows : list of cells
        A cell is a text, a number, markup, or a pair (shown, value to sort by).
    first : bool, default=True
        Whether the first column names the row.
    """
    made = []
    for row in rows:
        cells = []
        for value in row:
            shown, key = value if isinstance(value, tuple) else (value, value)
            plain = key if isinstance(key, (int, float, str)) else ""
            cells.append({"shown": "" if shown is None else shown, "key": plain})
        made.append(cells)
    return {
        "name": name,
        "caption": caption,
        "columns": [{"title": title, "number": number} for title, number in columns],
        "rows": made,
        "first": first,
    }
