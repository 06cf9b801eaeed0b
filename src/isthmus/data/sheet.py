"""Layer 1: a table as read, before anybody asks what its columns mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isthmus.data.samples import Problem

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@dataclass
class Sheet:
    """Rows with a name each, and what was noticed on the way in.

    Parameters
    ----------
    frame : DataFrame
        The rows that could be read; column names are unique strings.
    places : list of str
        One name per row: ``file:line``, or ``frame[position]`` for tables in memory.
    name : str
        The file or the kind of object, for messages.
    problems : list of Problem
        Rows that could not be read.
    seen : int
        Rows looked at.
    root : Path or None
        Folder that file names in the table are relative to.
    rooted : bool
        Whether the user named `root`; only then may the table hold absolute names (below it).
    media : dict
        Column -> (modality, items) where a column holds encoded images or recordings themselves.
    given : dict
        Role -> column for values that the caller handed over beside the table.
    parts : list of int
        Rows of each file, where several lie below each other; else empty.
    understood, notes : dict, list
        What goes into `Samples.understood`.
    """

    frame: pd.DataFrame
    places: list[str]
    name: str
    problems: list[Problem] = field(default_factory=list)
    seen: int = 0
    root: Path | None = None
    rooted: bool = False
    media: dict[str, tuple[str, Any]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    parts: list[int] = field(default_factory=list)
    understood: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, name: str) -> Sheet:
        """A sheet to be filled by a parser."""
        import pandas as pd

        return cls(frame=pd.DataFrame(), places=[], name=name)


def understand(value: Any, why: str, option: str) -> dict[str, Any]:
    """One entry of `Samples.understood`."""
    return {"value": value, "why": why, "option": option}


def unique_names(names: Iterable[Any], notes: list[str]) -> list[str]:
    """Column names as unique, stripped strings; what had to be changed goes into `notes`.

    >>> notes = []
    >>> unique_names(["a", "a", "", 3], notes)
    ['a', 'a (2)', 'column_3', '3']
    """
    found: list[str] = []
    used: set[str] = set()
    for position, raw in enumerate(names):
        name = "" if raw is None else str(raw).strip()
        if not name or name.startswith("Unnamed: "):
            name = f"column_{position + 1}"
        copy, number = name, 1
        while copy in used:
            number += 1
            copy = f"{name} ({number})"
        if number > 1:
            notes.append(f"the column name {name!r} occurs again: the later one is {copy!r}")
        used.add(copy)
        found.append(copy)
    return found


def base_name(column: str) -> str:
    """The name before `unique_names` numbered it: ``'a (2)'`` -> ``'a'``."""
    head, _, tail = column.rpartition(" (")
    return head if head and tail.endswith(")") and tail[:-1].isdigit() else column
