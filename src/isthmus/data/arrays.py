"""Layer 1: arrays and plain lists -> `Samples`.

2-d numbers are features; 3-d and 4-d numbers are images; a 1-d array or list of strings holds
texts, or file names where all of them end like media files; (samples, rate) pairs are recordings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from isthmus.data.assemble import Draft, finish
from isthmus.data.look import media_kind
from isthmus.data.options import Options
from isthmus.data.samples import FileItems, Items, Samples, ValueItems
from isthmus.data.sheet import understand
from isthmus.errors import DataError, UsageError
from isthmus.types import Array

_CHANNELS = (1, 3, 4)
_BESIDE = ("label", "domain", "group", "split", "id")
_LARGEST_SPARSE = 2 << 30  # bytes that a sparse matrix may take once it is dense


def read_arrays(
    X: Any,
    y: Any,
    options: Options,
    *,
    name: str = "array",
    beside: Mapping[str, Any] | None = None,
) -> Samples:
    """Rows X with labels y (None: unlabelled).

    Parameters
    ----------
    X : array of shape (n, d), (n, h, w) or (n, h, w, c), or sequence of n items
    y : array-like of shape (n,), or (n, k) 0/1 for multi-label, or None
    beside : mapping, optional
        Further values per row: ``domain``, ``group``, ``split``.

    Raises
    ------
    UsageError
        If a column is asked for by name (an array has none), or lengths differ.
    DataError
        If the values cannot be rows of any kind, or too many are bad.
    """
    values = {**(beside or {}), **given_beside(options)}
    y = values.pop("label", y)
    bad: dict[int, tuple[str, str]] = {}
    understood: dict[str, Any] = {}
    items, modality, why, ids = _items(X, options, bad, name)
    given = options.modality is not None
    understood["modality"] = understand(modality, "given" if given else why, "--modality")
    n = len(items)
    label: Any = None
    if y is not None:
        label, why = _label(y, n, name)
        understood["label"] = understand("given beside the data", why, "--label")
    for role in ("domain", "group", "split"):
        if role in values:
            shown = sorted({str(v) for v in values[role]})[:10]
            understood[role] = understand(shown, "given beside the data", f"--{role}")
    draft = Draft(
        items=items,
        places=[f"{name}[{row}]" for row in range(n)] if ids is None else ids,
        modality=modality,
        origin=name,
        ids=values.get("id"),
        label=label,
        domain=values.get("domain"),
        group=values.get("group"),
        split=values.get("split"),
        keep_split=options.split if isinstance(options.split, str) else None,
        bad=bad,
        understood=understood,
    )
    return finish(draft, options)


def given_beside(options: Options, columns: Iterable[str] = ()) -> dict[str, Any]:
    """Options that hold values per row instead of a column's name.

    A list of label columns (one of them being a column) is no list of values.
    """
    found = {}
    known = set(columns)
    for role in _BESIDE:
        value = getattr(options, role)
        if value is None or isinstance(value, (str, bool)):
            continue
        names = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        if role == "label" and names and known & set(value):
            continue
        found[role] = value
    return found


def _items(
    X: Any, options: Options, bad: dict[int, tuple[str, str]], name: str
) -> tuple[Items, str, str, list[str] | None]:
    """Rows, modality, the reason for it, and ids where files name the rows."""
    for role in ("text", "file", "features", "label", "domain", "group", "id"):
        value = options.wanted(role)
        if isinstance(value, str):
            raise UsageError(
                f"--{role} {value!r} names a column, but {name} has no columns",
                remedy="Give the values themselves, or a table",
            )
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        X = _dense(X, name)
    if isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.dtype == object):
        return _listed(X, options, bad, name)
    array = np.asarray(X)
    if not array.size:
        raise DataError("the array is empty", where=name, why=f"its shape is {array.shape}")
    if array.dtype.kind in "US" and array.ndim == 1:
        return _listed(array.astype(str).tolist(), options, bad, name)
    if array.dtype.kind not in "biuf":
        raise DataError(f"an array of {array.dtype} cannot be read", where=name)
    if array.ndim == 2 and options.modality != "image":
        return _matrix(array, options, bad), "features", f"an array of shape {array.shape}", None
    if array.ndim in (3, 4):
        if options.modality not in (None, "image"):
            raise UsageError(f"an array of shape {array.shape} cannot be {options.modality}")
        images, why = _pictures(array, name)
        return ValueItems(cast("Sequence[Any]", images)), "image", why, None
    raise DataError(
        f"an array of shape {array.shape} cannot be read as rows",
        where=name,
        remedy="Features are (n, d): one feature is X.reshape(-1, 1); images are (n, h, w, c)",
    )


def _matrix(array: Array, options: Options, bad: dict[int, tuple[str, str]]) -> Items:
    if options.modality not in (None, "features", "table"):
        raise UsageError(f"an array of shape {array.shape} cannot be {options.modality}")
    if array.dtype.kind == "f":
        for row in np.flatnonzero(~np.isfinite(array).all(axis=1)).tolist():
            bad[row] = ("a feature is NaN or infinite", "Fill it in, or use --modality table")
    return ValueItems(cast("Sequence[Any]", array))


def _listed(
    X: Any, options: Options, bad: dict[int, tuple[str, str]], name: str
) -> tuple[Items, str, str, list[str] | None]:
    """Items of a list one by one: texts, file names, encoded files, arrays, (samples, rate)."""
    values = list(X)
    known = [v for v in values if v is not None]
    if not known:
        raise DataError("the list is empty", where=name)
    wanted = options.modality
    if all(isinstance(v, (str, Path)) for v in known):
        return _strings(values, options, bad, name)
    kinds = {_kind(v) for v in known}
    if len(kinds) > 1:
        raise DataError(f"the list mixes {', '.join(sorted(kinds))}", where=name)
    kind = kinds.pop()
    if kind == "numbers":
        rows = [np.asarray(v) for v in values]
        if any(r.shape != rows[0].shape for r in rows) or rows[0].ndim == 0:
            raise DataError("the rows have different lengths", where=name)
        items, modality, why, _ = _items(np.stack(rows), options, bad, name)
        return items, modality, why, None
    if kind == "files in memory":
        from isthmus.data.contents import content_name

        modality = wanted or ("audio" if "recording" in content_name(known[0]) else "image")
    else:
        modality = "audio" if kind == "recordings" else "image"
    if wanted is not None and wanted != modality:
        raise UsageError(f"a list of {kind} cannot be {wanted}")
    for row, value in enumerate(values):
        if value is None:
            bad[row] = ("the item is empty", "Leave it out")
    values = [_pixels(v) for v in values] if kind == "pictures" else values
    return ValueItems(values), modality, f"a list of {kind}", None


def _strings(
    values: list[Any], options: Options, bad: dict[int, tuple[str, str]], name: str
) -> tuple[Items, str, str, list[str] | None]:
    known = [v for v in values if v is not None]
    kinds = {media_kind(Path(str(v).strip()).suffix.lower()) for v in known}
    paths = any(isinstance(v, Path) for v in known)
    if options.modality in (None, "image", "audio") and (paths or None not in kinds):
        modality = options.modality or next(iter(kinds - {None}), None)
        if modality is None or (options.modality is None and len(kinds) > 1):
            raise UsageError("the files are of several kinds", where=name, remedy="Say --modality")
        root = Path(options.root or ".").resolve()
        names = tuple("" if v is None else str(v) for v in values)
        for row, file in enumerate(names):
            if not file or not (root / file).is_file():
                bad[row] = (f"the file {file!r} does not exist", f"Names are relative to {root}")
        # the caller listed these files by name, so absolute names are the caller's own
        ids = list(names) if len(set(names)) == len(names) else None
        return FileItems(root, names), modality, f"{len(names):,} file names", ids
    if options.modality not in (None, "text"):
        raise UsageError(f"a list of texts cannot be {options.modality}", where="--modality")
    texts = ["" if v is None else str(v) for v in values]
    for row, text in enumerate(texts):
        if not text.strip():
            bad[row] = ("the text is empty", "Fill it in, or leave it out")
    return ValueItems(texts), "text", f"a list of {len(texts):,} texts", None


def _kind(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return "files in memory"
    if type(value).__module__.startswith("PIL."):
        return "pictures"
    pair = isinstance(value, tuple) and len(value) == 2
    if pair and np.ndim(value[0]) in (1, 2) and np.ndim(value[1]) == 0:
        return "recordings"
    if isinstance(value, np.ndarray) and value.ndim in (2, 3):
        return "pictures"
    if np.ndim(value) == 1:
        return "numbers"
    return f"{type(value).__name__} objects"


def _pixels(value: Any) -> Any:
    if value is None or isinstance(value, np.ndarray):
        return value
    plain = value if value.mode in ("L", "RGB", "RGBA") else value.convert("RGB")
    return np.asarray(plain)


def _pictures(array: Array, name: str) -> tuple[Array, str]:
    """(n, h, w[, c]) with the range checked once for all; (n, c, h, w) is turned."""
    why = f"an array of shape {array.shape}"
    if array.ndim == 4 and array.shape[3] not in _CHANNELS:
        if array.shape[1] not in _CHANNELS:
            raise DataError(
                f"an array of shape {array.shape} holds no images",
                where=name,
                why="neither its second nor its last axis has 1, 3 or 4 channels",
            )
        array = np.moveaxis(array, 1, 3)
        why += ", channels first"
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if not np.isfinite([low, high]).all() or low < 0 or high > 1:
            whole = np.isfinite(array).all() and low >= 0 and high <= 255
            if not (whole and np.all(array == np.round(array)) and high > 1):
                raise DataError(
                    f"pixel values lie in [{low:g}, {high:g}]",
                    where=name,
                    why="0..1 and whole numbers in 0..255 are understood; anything else is a guess",
                    remedy="Convert the array to uint8",
                )
            array = array.astype(np.uint8)
    elif array.dtype.kind in "iu" and array.dtype != np.uint8 and low >= 0 and high <= 255:
        array = array.astype(np.uint8)
    return array, why


def _dense(matrix: Any, name: str) -> Array:
    size = matrix.shape[0] * matrix.shape[1] * matrix.dtype.itemsize
    if size > _LARGEST_SPARSE:
        raise DataError(
            f"the sparse matrix would take {size / 2**30:.1f} GiB as plain numbers",
            where=name,
            remedy="Reduce it first, e.g. with sklearn's TruncatedSVD",
        )
    return np.asarray(matrix.toarray())


def _label(y: Any, n: int, name: str) -> tuple[Any, str]:
    """Labels as values per row, or as 0/1 columns."""
    if hasattr(y, "columns"):
        return {str(c): y[c].to_list() for c in y.columns}, "a frame of label columns"
    if hasattr(y, "to_list") or isinstance(y, (list, tuple)):
        return y, "given with the data"
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        if not np.isin(array, (0, 1)).all():
            raise DataError(
                f"{array.shape[1]} targets per row",
                where=name,
                why="one label, or 0/1 columns of a multi-label task, are understood",
                remedy="Choose one of them: y[:, 0]",
            )
        return {str(k): array[:, k].tolist() for k in range(array.shape[1])}, "0/1 columns"
    if array.ndim != 1:
        raise UsageError(f"labels of shape {array.shape} for {n} rows", where=name)
    return array, "given with the data"
