"""Layer 7: a few raw inputs that travel with a model, so that it can be replayed anywhere.

Encoded files lie under generated names, never under their own; texts and table rows are JSON;
arrays are safetensors. What cannot be kept that way is left out and said.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import iofs
from isthmus.data.samples import FrameItems, Samples, ValueItems
from isthmus.errors import BundleError
from isthmus.serve.manifest import damaged
from isthmus.types import Array, Modality

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "examples"
INPUTS, ARRAYS = "inputs.json", "arrays.safetensors"
MAX_ITEM, MAX_ALL = 4 << 20, 16 << 20  # bytes
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
_DTYPE = re.compile(r"(u?int|float)(8|16|32|64)|(U?Int|Float)(8|16|32|64)|bool|boolean|str|object")
_TIME = re.compile(r"datetime64\[(s|ms|us|ns)\]")


@dataclass(frozen=True)
class Kept:
    """Examples as they will be replayed.

    Parameters
    ----------
    samples : Samples
        Without labels; made of what was written, not of what was given.
    files : dict of str to bytes
        Name below the model's folder -> content.
    left_out : tuple of str
        What could not be kept, and why.
    """

    samples: Samples
    files: dict[str, bytes]
    left_out: tuple[str, ...] = ()


def choose(samples: Samples, count: int) -> Array:
    """Positions of `count` rows: every class in turn, spread over the rows; no randomness.

    Returns
    -------
    ndarray of int
        Increasing; fewer where there are fewer rows.
    """
    n = len(samples)
    if n <= count:
        return np.arange(n)
    spread = np.linspace(0, n - 1, count).round().astype(int)
    if samples.task != "classification" or samples.labels is None:
        return np.unique(spread)
    names = np.array([str(value) for value in samples.labels])
    queues = [list(np.flatnonzero(names == name)) for name in sorted(set(names))]
    if len(queues) > count:  # more classes than examples: spread over the classes
        queues = [queues[i] for i in np.linspace(0, len(queues) - 1, count).round().astype(int)]
    picked: list[int] = []
    while len(picked) < count:
        for queue in queues:
            if queue and len(picked) < count:
                picked.append(int(queue.pop(len(queue) // 2)))
    return np.array(sorted(picked))


def keep(samples: Samples, count: int) -> Kept | None:
    """Choose examples and turn them into files; None where none can be kept."""
    samples = samples.take(choose(samples, count)).without_labels()
    entries: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    arrays: dict[str, Array] = {}
    left_out: list[str] = []
    document: dict[str, Any] = {"modality": samples.modality}
    if isinstance(samples.items, FrameItems):
        document["table"] = frame_to_json(samples.items.frame)
        entries = [{"kind": "row", "id": _plain_id(name)} for name in samples.ids]
    else:
        total = 0
        for row, name in enumerate(samples.ids):
            item = samples.items[row]
            entry, size = _entry(item, f"{len(entries):03d}", name, files, arrays, MAX_ALL - total)
            if entry is None:
                left_out.append(f"{name}: {size} bytes of {type(item).__name__} are not kept")
                continue
            total += size
            entries.append(entry)
    if not entries:
        return None
    document["items"] = entries
    if arrays:
        from safetensors.numpy import save

        files[f"{FOLDER}/{ARRAYS}"] = save(arrays)
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    files[f"{FOLDER}/{INPUTS}"] = (text + "\n").encode()
    return Kept(restore(files.__getitem__, Path()), files, tuple(left_out))


def _entry(
    item: Any,
    number: str,
    name: str,
    files: dict[str, bytes],
    arrays: dict[str, Array],
    room: int,
) -> tuple[dict[str, Any] | None, int]:
    """JSON entry of one item (None: cannot be kept) and its size; its bytes go into the dicts."""
    entry: dict[str, Any] = {"id": _plain_id(name)}
    rate = None
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], np.ndarray):
        item, rate = item[0], float(item[1])
    if isinstance(item, bytes):
        size = len(item)
        suffix = Path(name).suffix.lower()
        file = number + (suffix if _SUFFIX.fullmatch(suffix) else ".bin")
        entry |= {"kind": "file", "file": file}
    elif isinstance(item, str):
        size = len(item.encode("utf-8", "surrogatepass"))
        entry |= {"kind": "text", "text": item}
        if not _encodable(item):
            return None, size
    elif isinstance(item, np.ndarray) and item.dtype.kind in "biuf":
        size = item.nbytes
        entry |= {"kind": "array", "array": number}
        if rate is not None:
            entry["rate"] = rate
    else:
        return None, 0
    if size > min(MAX_ITEM, room):
        return None, size
    if entry["kind"] == "file":
        files[f"{FOLDER}/{entry['file']}"] = item
    elif entry["kind"] == "array":
        arrays[number] = np.array(item, order="C")
    return entry, size


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain_id(name: str) -> str:
    """The last parts of an id, without what JSON cannot hold."""
    return name[-200:].encode("utf-8", "backslashreplace").decode()


def restore(read: Callable[[str], bytes], folder: Path) -> Samples:
    """Examples from their files.

    Parameters
    ----------
    read : callable
        Name below the model's folder -> bytes, already checked against its digest.
    folder : Path
        For messages.

    Raises
    ------
    BundleError
        If they are not what `keep` writes.
    """
    path = folder / FOLDER / INPUTS
    try:
        document = iofs.parse_json(read(f"{FOLDER}/{INPUTS}"))
        modality: Modality = document["modality"]
        entries = document["items"]
        ids = tuple(f"{i:03d} {entry['id']}" for i, entry in enumerate(entries))
        if "table" in document:
            return Samples(FrameItems(frame_from_json(document["table"])), ids, modality)
        arrays: dict[str, Array] = {}
        if any(entry["kind"] == "array" for entry in entries):
            name = f"{FOLDER}/{ARRAYS}"
            arrays = iofs.tensors_from_bytes(read(name), folder / name)
        values = [_item(entry, arrays, read) for entry in entries]
        origin = f"examples of {folder.name}" if folder.name else "examples"
        return Samples(ValueItems(values), ids, modality, origin=origin)
    except BundleError:
        raise
    except Exception as error:  # whatever hostile content provokes, it is one refusal
        raise damaged(path, f"not examples: {error!r:.200}") from error


def _item(entry: dict[str, Any], arrays: dict[str, Array], read: Callable[[str], bytes]) -> Any:
    if entry["kind"] == "file":
        return read(f"{FOLDER}/{entry['file']}")
    if entry["kind"] == "text":
        if not isinstance(entry["text"], str):
            raise ValueError("a text is none")
        return entry["text"]
    array = arrays[entry["array"]]
    return (array, entry["rate"]) if "rate" in entry else array


def frame_to_json(frame: pd.DataFrame) -> dict[str, Any]:
    """Columns, dtypes and values of a table; `frame_from_json` gives the same table back."""
    columns = []
    for name in frame.columns:
        column = frame[name]
        dtype = str(column.dtype)
        entry: dict[str, Any] = {"name": str(name), "dtype": dtype}
        if dtype == "category":
            entry["categories"] = [_plain(value) for value in column.cat.categories]
            entry["ordered"] = bool(column.cat.ordered)
        elif not _DTYPE.fullmatch(dtype) and not _TIME.fullmatch(dtype):
            entry["dtype"] = "object"
        entry["values"] = [_plain(value) for value in column.astype(object)]
        columns.append(entry)
    return {"columns": columns}


def frame_from_json(value: dict[str, Any]) -> pd.DataFrame:
    """The table that `frame_to_json` described.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it does not describe one.
    """
    import pandas as pd

    found = {}
    for entry in value["columns"]:
        dtype, values = entry["dtype"], entry["values"]
        if not isinstance(values, list) or any(isinstance(v, (list, dict)) for v in values):
            raise ValueError("values of a column are no list")
        if dtype == "category":
            made: Any = pd.Categorical(
                values, categories=entry["categories"], ordered=entry["ordered"]
            )
            column = pd.Series(made)
        elif _TIME.fullmatch(dtype):
            column = pd.Series(pd.to_datetime(pd.Series(values, dtype=object))).astype(dtype)
        elif not _DTYPE.fullmatch(dtype):
            raise ValueError(f"unknown dtype {dtype!r:.50}")
        elif dtype.startswith("float"):
            numbers = [math.nan if v is None else float(v) for v in values]  # "inf" too
            column = pd.Series(numbers, dtype=dtype)
        else:
            column = pd.Series(values, dtype=dtype)
        found[entry["name"]] = column
    return pd.DataFrame(found)


def _plain(value: Any) -> Any:
    """One cell as JSON: infinite numbers as text, missing values as null, the rest as it is."""
    if value is None or (not isinstance(value, str) and _is_missing(value)):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    return text if _encodable(text) else text.encode("utf-8", "backslashreplace").decode()


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))
