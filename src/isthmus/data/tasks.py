"""Layer 1: label values -> task: classification, multi-label or regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.data.labels import Distinct, distinct_of, name_of

# tokens that mean "no label here"; "None" is not among them: it may be a class
UNLABELLED = frozenset(["", "?", "nan", "na", "n/a", "#n/a", "null", "<na>"])
SEPARATORS = ("|", ";", ",")
_FEW = 10  # distinct fractions up to this many are grades, not a measured quantity


def is_list(value: Any) -> bool:
    """Whether one cell holds several values."""
    return isinstance(value, (list, tuple, set, frozenset, np.ndarray))


def unlabel(values: Any) -> tuple[Distinct, dict[str, int]]:
    """Label values without the tokens for "no label", and how often each of these stood."""
    column = distinct_of(values)
    found: dict[str, int] = {}
    codes = np.full(len(column.values) + 1, -1, dtype=np.int64)  # the last one: missing before
    kept: list[Any] = []
    for code, (value, count) in enumerate(zip(column.values, column.counts())):
        if isinstance(value, str) and value.strip().lower() in UNLABELLED:
            token = value.strip() or "empty"
            found[token] = found.get(token, 0) + count
        elif not count:
            continue
        else:
            codes[code] = len(kept)
            kept.append(value)
    missing = int(np.sum(column.codes < 0))
    if missing:
        found["empty"] = found.get("empty", 0) + missing
    return Distinct(codes[column.codes], kept), found


def infer_task(column: Distinct) -> tuple[str | None, str]:
    """The task that label values call for, and why.

    Parameters
    ----------
    column : Distinct
        Labels without tokens for missing ones (see `unlabel`).

    Returns
    -------
    task : str or None
        None where no row is labelled.
    why : str
    """
    known = column.values
    if not known:
        return None, "no row is labelled"
    if any(is_list(value) for value in known):
        return "multilabel", "the labels are lists"
    numbers = _numbers(known)
    if numbers is not None:
        return _numeric_task(numbers, known, int(np.sum(column.codes >= 0)))
    separator = list_separator(known)
    if separator:
        return "multilabel", f"the labels are lists joined by {separator!r}"
    return "classification", f"{len(known)} different names"


def _numeric_task(numbers: np.ndarray, known: list[Any], rows: int) -> tuple[str, str]:
    distinct = len(np.unique(numbers))
    if not np.all(numbers == np.round(numbers)):
        if distinct > _FEW:
            return "regression", f"{distinct:,} different numbers with fractions"
        return "classification", f"only {distinct} different numbers"
    written = any(isinstance(v, (float, np.floating)) or "." in str(v) for v in known)
    per_value = rows / distinct
    # 964 alphabets with 20 drawings each are classes; 214 blood values for 442 people are not
    if distinct > 20 and per_value < (10 if written else 3):
        return "regression", f"{distinct:,} different numbers in {rows:,} rows"
    return "classification", f"{distinct:,} different whole numbers"


def list_separator(known: Sequence[Any]) -> str | None:
    """The sign that joins several labels in one cell, if that is what the cells show.

    It is taken for one where the parts are fewer than the combinations: ``a|b, a, b, a|c|b``
    repeats its parts, ``Portland, Oregon`` does not.
    """
    texts = [value for value in known if isinstance(value, str)]
    if len(texts) < len(known):
        return None
    combinations = {text.strip() for text in texts}
    for separator in SEPARATORS:
        joined = [text for text in combinations if separator in text]
        if not joined:
            continue
        parts = {part.strip() for text in combinations for part in text.split(separator)}
        parts.discard("")
        if len(parts) < len(combinations) and all(len(part) <= 40 for part in parts):
            return separator
    return None


def split_labels(value: Any, separator: str | None) -> list[Any]:
    """One cell -> its list of label values."""
    if is_list(value):
        return list(value)
    if isinstance(value, str) and separator:
        return [part.strip() for part in value.split(separator) if part.strip()]
    return [value]


def truth(value: Any) -> bool | None:
    """One cell of a 0/1 column; None where it is neither."""
    name = (name_of(value) or "0").lower()
    if name in ("1", "true", "yes", "y"):
        return True
    return False if name in ("0", "false", "no", "n") else None


def _numbers(known: Sequence[Any]) -> np.ndarray | None:
    """All values as numbers, or None; truth values are names."""
    if any(isinstance(value, (bool, np.bool_)) for value in known):
        return None
    if all(isinstance(value, (int, float, np.number)) for value in known):
        return np.array([float(value) for value in known])
    import pandas as pd

    from isthmus.data.columns import to_numbers

    numbers = to_numbers(pd.Series([str(v) for v in known], dtype="str")).to_numpy()
    return None if np.isnan(numbers).any() else numbers
