"""Layer 7: what a saved model expects of its input, and the check of it before any prediction."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.labels import name_of
from isthmus.data.samples import FrameItems, Samples
from isthmus.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# Reading options that a model remembers, so that new data are understood as the training data were.
REMEMBERED = ("text", "file", "features", "label", "domain", "group", "id")
_BESIDE = "given beside the data"
KINDS = {"b": "truth", "i": "number", "u": "number", "f": "number", "M": "time", "m": "time"}


def schema_of(samples: Samples) -> dict[str, Any]:
    """JSON-ready description of the input.

    Returns
    -------
    dict
        ``modality``; ``reading``: column names by role; for tables ``columns``: name, kind
        (number, truth, time, text) and dtype; for features ``width``.
    """
    found: dict[str, Any] = {"modality": samples.modality, "reading": {}}
    by_column = any(role in samples.understood for role in ("text", "file", "features"))
    for role in REMEMBERED if by_column else ():
        entry = samples.understood.get(role)
        value = entry.get("value") if isinstance(entry, dict) else None
        if value == _BESIDE:
            continue
        if isinstance(value, str) or _all_texts(value):
            found["reading"][role] = value
    if isinstance(samples.items, FrameItems):
        frame = samples.items.frame
        found["columns"] = [
            {"name": str(name), "kind": kind_of(frame[name]), "dtype": str(frame[name].dtype)}
            for name in frame.columns
        ]
    elif samples.modality == "features" and len(samples):
        found["width"] = int(np.size(samples.items[0]))
    return found


def is_schema(value: dict[str, Any]) -> bool:
    """Whether a value from a file is what `schema_of` returns."""
    reading, columns, width = (value.get(name) for name in ("reading", "columns", "width"))
    if not isinstance(reading, dict) or set(reading) - set(REMEMBERED):
        return False
    if not all(isinstance(v, str) or _all_texts(v) for v in reading.values()):
        return False
    if width is not None and type(width) is not int:
        return False
    if columns is None:
        return "columns" not in value
    described = {"name", "kind", "dtype"}
    return isinstance(columns, list) and all(
        isinstance(c, dict) and set(c) == described and _all_texts(list(c.values()))
        for c in columns
    )


def _all_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def kind_of(column: pd.Series) -> str:
    """``number``, ``truth``, ``time`` or ``text``."""
    return KINDS.get(getattr(column.dtype, "kind", "O"), "text")


def fit_to_schema(samples: Samples, schema: dict[str, Any]) -> tuple[Samples, list[str]]:
    """Samples in the form that the model was trained on, and notes on what had to be changed.

    Columns are put into the order of training; columns that the model does not know are left
    out, and said. Nothing is invented: a missing column is an error.

    Raises
    ------
    DataError
        If the modality, the width or the columns do not fit.
    """
    where = samples.origin or "the data"
    if samples.modality != schema["modality"]:
        raise DataError(
            f"the model reads {schema['modality']} input, the data are {samples.modality}",
            where=where,
            remedy=f"Give {schema['modality']} data, or --modality if they were misread",
        )
    if "width" in schema and len(samples):
        width = int(np.size(samples.items[0]))
        if width != schema["width"]:
            raise DataError(
                f"rows have {width} features, the model was trained on {schema['width']}",
                where=where,
                remedy="Give the same features in the same order",
            )
    if "columns" not in schema or not isinstance(samples.items, FrameItems):
        return samples, []
    frame, notes = _fit_frame(samples.items.frame, schema["columns"], where)
    return replace(samples, items=FrameItems(frame)), notes


def _fit_frame(
    frame: pd.DataFrame, columns: list[dict[str, str]], where: str
) -> tuple[pd.DataFrame, list[str]]:
    wanted = [column["name"] for column in columns]
    have = [str(name) for name in frame.columns]
    missing = [name for name in wanted if name not in have]
    extra = [name for name in have if name not in wanted]
    if missing:
        near = difflib.get_close_matches(missing[0], extra, n=1)
        raise DataError(
            f"{_listed(missing)} of the training data {'is' if len(missing) == 1 else 'are'} "
            "missing",
            where=where,
            why=f"the table has {_listed(have)}",
            remedy=f"Is it {near[0]!r} here? Rename it" if near else "Add it; cells may be empty",
        )
    notes = []
    if extra:
        notes.append(f"{_listed(extra)} unknown to the model and not used")
    found = frame.set_axis(have, axis=1)[wanted].copy()
    for column in columns:
        name = column["name"]
        if kind_of(found[name]) != column["kind"]:
            found[name] = _converted(found[name], column["kind"], f"{where}: column {name!r}")
    return found, notes


def _converted(column: pd.Series, kind: str, where: str) -> pd.Series:
    """The column as the kind it had in training, where no value is changed by that."""
    import pandas as pd

    empty = column.isna()
    if kind == "text":
        texts = np.array([name_of(value) for value in column], dtype=object)
        return pd.Series(texts, index=column.index, dtype="str")
    if empty.all():  # a column without values has no kind of its own
        return pd.Series(np.nan, index=column.index, dtype="float64")
    if kind == "number" and kind_of(column) in ("truth", "text"):
        numbers = pd.to_numeric(column, errors="coerce").astype("float64")
        bad = numbers.isna() & ~empty
        if not bad.any():
            return numbers
        first = column[bad].iloc[0]
        raise DataError(
            f"{first!r} is not a number",
            where=where,
            why=f"the column held numbers in training; {int(bad.sum())} of {len(column)} values "
            "are none here",
            remedy="Mend the values or leave the cells empty",
        )
    if kind == "truth" and kind_of(column) == "number" and column.dropna().isin([0, 1]).all():
        return column if empty.any() else column.astype(bool)
    raise DataError(
        f"the column holds {kind_of(column)} values",
        where=where,
        why=f"in training it held {kind} values",
        remedy="Give the column as it was in training",
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:10]))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"
