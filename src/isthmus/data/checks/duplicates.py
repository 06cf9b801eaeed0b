"""Layer 1: ISX001, ISX003, ISX022: rows that training and test share, byte by byte or by id."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding, Severity
from isthmus.data.checks.view import RawView
from isthmus.data.samples import FileItems, FrameItems, Samples
from isthmus.errors import IsthmusError

LEAST_WORDS = 5  # shorter texts ("Great phone!") are written twice by different people
COMMON = 0.7  # of the shared rows: a table that repeats itself as often has few different rows
STOPPING = 0.5  # share of scored rows from which on the test is no test
TELLING = 0.005
_WORD = re.compile(r"\w+")


def keys(part: Samples, *, only: set[Any] | None = None) -> list[Any]:
    """A key for each row: equal keys are the same content; None where that cannot be said.

    Texts are compared by their words, whatever their case and punctuation; table rows by their
    values; everything else byte by byte.

    Parameters
    ----------
    only : set, optional
        For files: sizes in bytes that are worth hashing.
    """
    items = part.items
    if isinstance(items, FrameItems):
        return _row_keys(items.frame)
    if isinstance(items, FileItems):
        found = []
        for row, name in enumerate(items.names):
            path = items.root / name
            try:
                fits = only is None or path.stat().st_size in only
                found.append(_digest(items[row]) if fits else None)
            except (OSError, IsthmusError):
                found.append(None)
        return found
    return [_key(items[row]) for row in range(len(items))]


def _row_keys(frame: Any) -> list[Any]:
    import pandas as pd

    if frame.shape[1] < 4:
        return [None] * len(frame)
    rounded = rounded_numbers(frame)
    mostly_empty = frame.isna().mean(axis=1) > 0.5
    hashed = pd.util.hash_pandas_object(rounded, index=False)
    return [None if bare else int(h) for h, bare in zip(hashed, mostly_empty)]


def repeated(part: Samples) -> float:
    """Share of every other row of a table that is equal to one of the rows between; 0 for others.

    What two draws from one table have in common where nothing was copied.
    """
    if not isinstance(part.items, FrameItems):
        return 0.0
    found = [key for key in keys(part) if key is not None]
    order = np.random.default_rng(0).permutation(len(found))
    first = {found[i] for i in order[::2]}
    rest = [found[i] in first for i in order[1::2]]
    return float(np.mean(rest)) if rest else 0.0


def rounded_numbers(frame: Any) -> Any:
    """The table with its floating-point columns rounded to 6 places; dates stay as they are."""
    names = list(frame.select_dtypes(include="float").columns)
    return frame.assign(**{name: frame[name].round(6) for name in names}) if names else frame


def _key(item: Any) -> Any:
    if isinstance(item, str):
        words = _WORD.findall(item.casefold())
        return " ".join(words) if len(words) >= LEAST_WORDS else None
    if isinstance(item, tuple):
        return _key(item[0])
    return _digest(item)


def _digest(item: Any) -> bytes | None:
    if isinstance(item, bytes):
        return hashlib.sha256(item).digest()
    array = np.asarray(item)
    if array.dtype.hasobject or not array.any():  # empty rows are another finding
        return None
    return hashlib.sha256(repr(array.shape).encode() + array.tobytes()).digest()


def sizes(part: Samples) -> set[Any]:
    """Sizes of a part's files in bytes."""
    found = set()
    if isinstance(part.items, FileItems):
        for name in part.items.names:
            try:
                found.add((part.items.root / name).stat().st_size)
            except OSError:
                continue
    return found


def shared_rows(one: Samples, other: Samples) -> list[tuple[int, int]]:
    """(row of `one`, row of `other`) with the same content; each row of `other` once."""
    only = None
    if isinstance(one.items, FileItems) and isinstance(other.items, FileItems):
        only = sizes(one) & sizes(other)  # files of different sizes need not be read
        if not only:
            return []
    first: dict[Any, int] = {}
    for row, key in enumerate(keys(one, only=only)):
        if key is not None:
            first.setdefault(key, row)
    there = keys(other, only=only)
    return [(first[key], row) for row, key in enumerate(there) if key is not None and key in first]


def find(view: RawView) -> Iterable[Finding]:
    """Equal content and equal rows between what trains and what is scored."""
    if not view.apart:
        return
    role, scored = view.scored
    for mine, part in view.training:
        same = view.overlap(part)
        if same:
            code = "ISX022" if mine == "labelled target" else "ISX003"
            yield Finding(
                code,
                "error",
                f"{len(same)} of {len(scored)} {role} rows are {mine} rows",
                "they have the same ids in the same data set",
                where=scored.origin,
                remedy="Take them out of one of the two; a score on training rows proves nothing",
                rows=tuple(sorted(same)),
                figures={"shared": len(same), "scored": len(scored)},
            )
            continue
        pairs = shared_rows(part, scored)
        if pairs:
            found = shared_finding(pairs, mine, part, role, scored, "equal content")
            usual = repeated(part)
            if found.severity == "error" and usual >= COMMON * len(pairs) / len(scored):
                chance = (
                    f"{100 * usual:.0f} % of one half of the {mine} rows are in the other half "
                    "too: the table has few different rows, and equal ones need no copying"
                )
                evidence = f"{found.evidence}; {chance}"
                found = replace(found, severity="warning", evidence=evidence)
            yield found


def shared_finding(
    pairs: list[tuple[int, int]],
    mine: str,
    part: Samples,
    role: str,
    scored: Samples,
    how: str,
) -> Finding:
    """The finding for rows that both sides hold."""
    share = len(pairs) / len(scored)
    severity: Severity = "warning"
    if share >= STOPPING:
        severity = "error"
    elif share < TELLING and len(pairs) < 10:
        severity = "info"
    copies: dict[int, int] = defaultdict(int)
    for row, _ in pairs:
        copies[row] += 1
    a, b = pairs[0]
    return Finding(
        "ISX001",
        severity,
        f"{len(pairs)} of {len(scored)} {role} rows ({100 * share:.1f} %) are {mine} rows too",
        f"{how}; first {scored.ids[b]} = {part.ids[a]}",
        where=scored.origin,
        remedy=f"Take them out of the {role}; scores with them are too good",
        rows=tuple(scored.ids[row] for _, row in pairs),
        figures={"shared": len(pairs), "scored": len(scored), "share": share},
    )
