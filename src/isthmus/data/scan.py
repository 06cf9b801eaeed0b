"""Layer 1: where the records of a delimited file lie, found once with NumPy on the raw bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.types import Array

_QUOTE, _NEWLINE, _SPACE = 34, 10, 32


@dataclass(frozen=True)
class Records:
    """Where the records of a file lie: byte range, number of fields, 0-based line of each."""

    starts: Array
    ends: Array
    fields: Array
    lines: Array
    quoted: bool  # quotes are meant as quotes
    needed: bool  # some quoted field holds a delimiter, a line end or a quote
    padded: bool  # a space stands between a delimiter and an opening quote


def scan(data: bytes, delimiter: str, *, quoting: bool = True) -> Records | None:
    """Find the records of a buffer whose lines end in LF; None where quotes are not well formed.

    Well formed (RFC 4180): a quote opens right after a delimiter or line start and closes right
    before a delimiter or line end; inside, a quote is doubled.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    sign = ord(delimiter)
    newlines = np.flatnonzero(buffer == _NEWLINE)
    delimiters = np.flatnonzero(buffer == sign)
    quotes = np.flatnonzero(buffer == _QUOTE) if quoting else np.empty(0, dtype=np.int64)
    outer, breaks, needed, padded = delimiters, newlines, False, False
    if len(quotes):
        if len(quotes) % 2:
            return None
        opening, closing = quotes[::2], quotes[1::2]
        before = buffer[np.maximum(opening - 1, 0)]
        after = buffer[np.minimum(closing + 1, len(buffer) - 1)]
        spaced = (before == _SPACE) & (buffer[np.maximum(opening - 2, 0)] == sign)
        padded = bool(spaced.any())
        edge = (sign, _NEWLINE, _QUOTE)
        good_open = (opening == 0) | np.isin(before, edge) | spaced
        good_close = (closing == len(buffer) - 1) | np.isin(after, edge)
        if not (good_open.all() and good_close.all()):
            return None
        outer = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        breaks = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        doubled = bool(np.any(opening[1:] == closing[:-1] + 1))
        needed = len(outer) < len(delimiters) or len(breaks) < len(newlines) or doubled
    starts = np.concatenate([[0], breaks + 1])
    ends = np.concatenate([breaks, [len(buffer)]])
    if starts[-1] == len(buffer):
        starts, ends = starts[:-1], ends[:-1]
    fields = np.searchsorted(outer, ends) - np.searchsorted(outer, starts) + 1
    lines = np.searchsorted(newlines, starts)
    return Records(starts, ends, fields, lines, bool(len(quotes)), needed, padded)
