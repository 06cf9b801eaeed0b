"""Layer 1: what a column looks like, from at most 2,000 of its cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.columns import MISSING
from isthmus.data.labels import is_missing
from isthmus.data.tasks import is_list

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 2_000


@dataclass(frozen=True)
class Look:
    """Kind of cells and a few averages over them.

    Parameters
    ----------
    kind : str
        ``number``, ``truth``, ``text``, ``list``, ``date``, ``other`` or ``empty``.
    words, characters, spaces : float
        Means per text cell.
    wordy : bool
        Whether the cells are sentences rather than names: three words on average, or six
        characters of a script that writes without spaces.
    suffixes : Counter
        (``image`` or ``audio``, suffix) -> cells that end in it.
    media_share : float
        Share of the cells that do.
    """

    kind: str
    words: float = 0.0
    characters: float = 0.0
    spaces: float = 0.0
    wordy: bool = False
    suffixes: Counter[tuple[str, str]] = field(default_factory=Counter)
    media_share: float = 0.0


def look(series: pd.Series) -> Look:
    """Look at one column."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(series.dtype):
        return Look("truth")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return Look("number" if series.notna().any() else "empty")
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return Look("date")
    rows = np.unique(np.linspace(0, max(len(series) - 1, 0), min(_SAMPLE, len(series))).astype(int))
    cells = [v for v in series.iloc[rows].tolist() if is_list(v) or not is_missing(v)]
    texts = [v for v in cells if isinstance(v, str)]
    if not cells:
        return Look("empty")
    if any(is_list(v) for v in cells):
        return Look("list")
    if all(isinstance(v, (bool, np.bool_)) for v in cells):
        return Look("truth")
    present = [t for t in texts if t.strip().lower() not in MISSING]
    if len(texts) < len(cells):
        plain = [v for v in cells if isinstance(v, (int, float, np.number))]
        if len(plain) + sum(map(_numeric, texts)) == len(cells):
            return Look("number")
        if not texts:
            return Look("other")
    if not present:
        return Look("empty")
    if sum(map(_numeric, present)) >= 0.9 * len(present):
        return Look("number")
    return _look_at_texts(present)


def _look_at_texts(texts: list[str]) -> Look:
    words = float(np.mean([len(t.split()) for t in texts]))
    characters = float(np.mean([len(t) for t in texts]))
    dense = float(np.mean([sum(ord(c) > 0x2E7F for c in t) for t in texts]))
    suffixes: Counter[tuple[str, str]] = Counter()
    for text in texts:
        suffix = PurePosixPath(text.strip().replace("\\", "/")).suffix.lower()
        kind = media_kind(suffix) if suffix else None
        if kind:
            suffixes[kind, suffix] += 1
    share = suffixes.total() / len(texts)
    wordy = share < 0.5 and (words >= 3 or dense >= 6)
    return Look("text", words, characters, words - 1, wordy, suffixes, share)


def media_kind(suffix: str) -> str | None:
    """``image``, ``audio`` or None for a suffix with its dot, in lower case."""
    from isthmus.data.audio import AUDIO_SUFFIXES
    from isthmus.data.images import IMAGE_SUFFIXES

    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "audio" if suffix in AUDIO_SUFFIXES else None


def distinct(series: pd.Series) -> int:
    """Number of different present values; lists and dicts count by their text."""
    try:
        return int(series.nunique())
    except TypeError:
        return len({str(v) for v in series.tolist() if is_list(v) or not is_missing(v)})


def _numeric(text: Any) -> bool:
    if "_" in text:  # Python reads 1_2 as 12; a file means two parts of a name
        return False
    try:
        float(text.strip().replace(",", ".", 1))
    except ValueError:
        return False
    return True
