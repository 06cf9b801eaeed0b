"""Layer 1: Hugging Face datasets, and Parquet files that carry the same description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.sheet import Sheet, understand, unique_names
from isthmus.errors import DataError, UsageError
from isthmus.types import Array

if TYPE_CHECKING:
    import pandas as pd

_MEDIA = {"Image": "image", "Audio": "audio"}


def is_hub(value: Any) -> bool:
    """Whether a value is one of the classes of the library `datasets` (not imported here)."""
    return type(value).__module__.partition(".")[0] == "datasets"


def sheet_from_hub(value: Any, name: str = "dataset") -> Sheet:
    """A `datasets.Dataset`, or a `DatasetDict` whose keys are the splits.

    ClassLabel numbers become their names (-1 means unlabelled, as the library has it); Image and
    Audio columns are read row by row when a row is asked for.

    Raises
    ------
    UsageError
        For streaming data sets, which have no rows to count.
    """
    kind = type(value).__name__
    if kind in ("IterableDataset", "IterableDatasetDict"):
        raise UsageError(
            "a streaming data set cannot be read",
            why="its rows cannot be counted or read twice",
            remedy="Load it without streaming=True",
        )
    if isinstance(value, Mapping):
        return _from_splits(value, name)
    if kind != "Dataset":
        raise UsageError(f"a datasets.{kind} cannot be read", remedy="Give a Dataset")
    if not len(value):
        raise DataError("the data set has no rows", where=name)
    features = {key: _describe(feature) for key, feature in value.features.items()}
    media = [key for key, feature in features.items() if feature.get("_type") in _MEDIA]
    plain = value.with_format(None)
    kept = [key for key in value.column_names if key not in media]
    frame = _frame({key: list(plain[key]) for key in kept}, len(value), value.column_names)
    sheet = _sheet(frame, features, name, [f"{name}[{row}]" for row in range(len(value))])
    for key in media:
        encoded = value.cast_column(key, _undecoded(value.features[key])).with_format(None)
        if encoded.data.column(key).null_count:  # rare, so only then every row is looked at
            sheet.frame[key] = [None if cell is None else "encoded" for cell in encoded[key]]
        rows = np.arange(len(value))
        sheet.media[key] = (_MEDIA[features[key]["_type"]], HubItems(encoded, key, rows))
    return sheet


def sheet_from_arrow(table: Any, name: str) -> Sheet:
    """A pyarrow table; its Hugging Face description is used where it has one."""
    metadata = (table.schema.metadata or {}).get(b"huggingface")
    features: dict[str, Any] = {}
    if metadata:
        try:
            features = json.loads(metadata)["info"]["features"]
        except (ValueError, KeyError, TypeError, RecursionError):
            features = {}
    columns: dict[str, Any] = {}
    media: dict[str, tuple[str, Any]] = {}
    for key in table.column_names:
        values = table.column(key).to_pylist()
        kind = _encoded_kind(values, features.get(key))
        if kind:
            media[key] = (kind, EncodedItems(tuple(v["bytes"] if v else None for v in values)))
            columns[key] = [None if v is None or not v["bytes"] else "encoded" for v in values]
        else:
            columns[key] = values
    frame = _frame(columns, table.num_rows, table.column_names)
    places = [f"{name}:{row + 1}" for row in range(table.num_rows)]
    sheet = _sheet(frame, features, name, places)
    sheet.media = media
    return sheet


@dataclass(frozen=True)
class HubItems:
    """Encoded images or recordings of a `datasets.Dataset`, fetched one row at a time."""

    dataset: Any
    column: str
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> bytes:
        cell = self.dataset[int(self.rows[row])][self.column]
        raw = cell.get("bytes") if cell else None
        if raw:
            return bytes(raw)
        path = cell.get("path") if cell else None
        if not path:
            raise DataError(f"row {row} holds no {self.column}", remedy="Delete the row")
        try:  # the caller loaded this data set: its paths are the caller's own
            return Path(path).read_bytes()
        except OSError as error:
            raise DataError(
                "the file cannot be read", where=str(path), why=error.strerror or str(error)
            ) from None

    def take(self, rows: Array) -> HubItems:
        return replace(self, rows=self.rows[np.asarray(rows)])


@dataclass(frozen=True)
class EncodedItems:
    """Encoded files in memory."""

    values: tuple[bytes | None, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> bytes:
        value = self.values[row]
        if value is None:
            raise DataError(f"row {row} is empty", remedy="Delete the row")
        return value

    def take(self, rows: Array) -> EncodedItems:
        return EncodedItems(tuple(self.values[int(r)] for r in rows))


def _from_splits(value: Mapping[str, Any], name: str) -> Sheet:
    import pandas as pd

    if not value:
        raise DataError("the data set has no splits", where=name)
    sheets = [sheet_from_hub(part, f"{name}[{key!r}]") for key, part in value.items()]
    first = sheets[0]
    for other in sheets[1:]:
        if list(other.frame.columns) != list(first.frame.columns):
            raise DataError(
                "the splits have different columns",
                where=name,
                remedy="Give one of them, e.g. data['train']",
            )
    column = unique_names([*first.frame.columns, "split (dataset)"], [])[-1]
    sheet = Sheet.empty(name)
    frames = [s.frame.assign(**{column: key}) for s, key in zip(sheets, value)]
    sheet.frame = pd.concat(frames, ignore_index=True)
    sheet.places = [place for s in sheets for place in s.places]
    sheet.seen = len(sheet.frame)
    sheet.notes = [note for s in sheets for note in s.notes]
    sheet.understood = dict(first.understood)
    sheet.given = {"split": column}
    for key, (kind, _) in first.media.items():
        sheet.media[key] = (kind, _Joined(tuple(s.media[key][1] for s in sheets)).flat())
    return sheet


@dataclass(frozen=True)
class _Joined:
    """Items of several splits, one after another."""

    parts: tuple[Any, ...]

    def flat(self) -> JoinedItems:
        where = [(p, r) for p, part in enumerate(self.parts) for r in range(len(part))]
        return JoinedItems(self.parts, np.array(where, dtype=np.int64).reshape(-1, 2))


@dataclass(frozen=True)
class JoinedItems:
    """Rows drawn from several item lists; `where` holds (list, row) per row."""

    parts: tuple[Any, ...]
    where: Array

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, row: int) -> Any:
        part, inner = self.where[row]
        return self.parts[int(part)][int(inner)]

    def take(self, rows: Array) -> JoinedItems:
        return replace(self, where=self.where[np.asarray(rows)])


def _sheet(frame: pd.DataFrame, features: Mapping[str, Any], name: str, places: list[str]) -> Sheet:
    sheet = Sheet(frame=frame, places=places, name=name, seen=len(frame))
    named = []
    for key, feature in features.items():
        classes = _class_names(feature)
        if classes is None or key not in frame.columns:
            continue
        frame[key] = _by_name(frame[key].to_list(), classes, key, name)
        named.append(key)
    if named:
        sheet.understood["class names"] = understand(
            named, "the data set names the classes of these columns", "--label"
        )
    return sheet


def _by_name(values: list[Any], classes: list[str], column: str, where: str) -> Any:
    """Positions -> names; -1 and None are unlabelled."""
    import pandas as pd

    def name(value: Any) -> Any:
        if isinstance(value, (list, tuple, np.ndarray)):
            return [name(v) for v in value]
        if value is None or value != value or value == -1:
            return None
        if isinstance(value, str):
            return value
        if not 0 <= int(value) < len(classes):
            raise DataError(
                f"column {column!r} holds the class number {value}, there are {len(classes)} names",
                where=where,
            )
        return classes[int(value)]

    return pd.Series([name(value) for value in values], dtype=object)


def _class_names(feature: Any) -> list[str] | None:
    """Names of a ClassLabel, or of a list of ClassLabels."""
    if isinstance(feature, list):
        return _class_names(feature[0]) if feature else None
    if not isinstance(feature, Mapping):
        return None
    if feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return [str(n) for n in names] if isinstance(names, list) else None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _class_names(feature.get("feature"))
    return None


def _describe(feature: Any) -> dict[str, Any]:
    """A feature object as the plain mapping that Parquet files carry."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        return {"_type": kind, "names": list(feature.names)}
    if kind in ("Sequence", "List", "LargeList"):
        return {"_type": kind, "feature": _describe(feature.feature)}
    return {"_type": kind}


def _undecoded(feature: Any) -> Any:
    return replace(feature, decode=False)


def _encoded_kind(values: list[Any], feature: Any) -> str | None:
    """Modality of a column of {"bytes", "path"} cells."""
    cells = [v for v in values if v is not None]
    if not cells or not all(isinstance(v, dict) and set(v) == {"bytes", "path"} for v in cells):
        return None
    if not any(isinstance(v["bytes"], bytes) for v in cells):
        return None
    if isinstance(feature, Mapping) and feature.get("_type") in _MEDIA:
        return _MEDIA[feature["_type"]]
    from isthmus.data.contents import content_name

    name = content_name(next(v["bytes"] for v in cells if v["bytes"]))
    return "audio" if "recording" in name else "image"


def _frame(columns: Mapping[str, Any], rows: int, order: list[str]) -> pd.DataFrame:
    """Columns of Python values -> frame in the given order; media columns hold a marker."""
    import pandas as pd

    built: dict[str, Any] = {}
    for key in order:
        values = columns.get(key)
        if values is None:
            values = ["encoded"] * rows
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        built[key] = pd.Series(values) if numbers else pd.Series(values, dtype=object)
    return pd.DataFrame(built)
