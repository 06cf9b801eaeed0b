"""Layer 1: `read(anything)`: one door for every kind of data, one kind of answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data.arrays import read_arrays
from isthmus.data.assemble import keep_split
from isthmus.data.frames import to_samples
from isthmus.data.hub import is_hub, sheet_from_hub
from isthmus.data.look import media_kind
from isthmus.data.mixed import read_table_folder
from isthmus.data.named import add_beside, from_named, read_bunch, read_npz
from isthmus.data.options import Options
from isthmus.data.quarantine import DEFAULT_MAX_BAD, check_bad_share
from isthmus.data.samples import Samples
from isthmus.data.tables import TABLE_SUFFIXES, from_frame, read_file
from isthmus.errors import DataError, UsageError, near_path

_ARRAYS = frozenset([".npz", ".npy"])
_REFUSED = {
    ".zip": "Unpack it and give the folder",
    ".tar": "Unpack it and give the folder",
    ".gz": "Unpack it first",
    ".bz2": "Unpack it first",
    ".xz": "Unpack it first",
    ".7z": "Unpack it and give the folder",
    ".xlsx": "Save the sheet as CSV",
    ".xls": "Save the sheet as CSV",
    ".ods": "Save the sheet as CSV",
    ".pkl": "Pickles are never opened: they can run code. Save the data as CSV or .npz",
    ".pickle": "Pickles are never opened: they can run code. Save the data as CSV or .npz",
    ".joblib": "Pickles are never opened: they can run code. Save the data as CSV or .npz",
    ".pt": "Save the arrays with numpy.savez",
    ".pth": "Save the arrays with numpy.savez",
    ".db": "Export the table as CSV",
    ".sqlite": "Export the table as CSV",
    ".mat": "Load it with scipy.io.loadmat and give the arrays",
    ".h5": "Load the arrays with h5py and give them",
    ".hdf5": "Load the arrays with h5py and give them",
    ".feather": "Save it as Parquet",
    ".arrow": "Save it as Parquet, or load it with the library datasets",
}


def read(
    data: Any,
    *,
    modality: str | None = None,
    task: str | None = None,
    label: Any = None,
    domain: Any = None,
    group: Any = None,
    text: str | None = None,
    file: str | None = None,
    split: str | None = None,
    features: Any = None,
    id: Any = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    root: str | Path | None = None,
    max_bad: float | None = None,
    optional: tuple[str, ...] = (),
    inputs: tuple[str, ...] = (),
) -> Samples:
    """Read a data set of any kind and say what was understood.

    Whatever is not given is inferred; every guess stands in ``samples.understood`` with its
    reason and the option that overrules it, and `describe` prints it.

    Parameters
    ----------
    data : path, array, frame or data set
        - a folder of images or recordings (``class/file``, ``split/class/file``,
          ``domain/class/file``), or of tables with the same columns, or of media files and one
          table that names them;
        - a CSV, TSV, JSONL, JSON or Parquet file, ``.txt`` lines or tab-separated columns,
          ``.npz`` or ``.npy``;
        - arrays: ``X`` or ``(X, y)``; (n, d) numbers are features, (n, h, w[, c]) are images,
          strings are texts, ``(samples, rate)`` pairs are recordings;
        - a pandas or polars frame, a Hugging Face ``Dataset`` or ``DatasetDict``, a scikit-learn
          Bunch; `Samples` pass through.
    modality : {"image", "text", "audio", "table", "features"}, optional
    task : {"classification", "multilabel", "regression"}, optional
    label, domain, group, id : str or array-like of shape (n,), optional
        Name of the column, or the values themselves; ``"none"`` (or False) says that there is
        none. For a folder of files: ``"none"`` or a pattern such as ``"{label}_{group}_*"``.
        ``label="a,b,c"`` names the 0/1 columns of a multi-label task. Ids name the rows in every
        result; without them the file path does, or ``file:line``.
    text, file, features : str, optional
        The column of texts, the column of file names, or the columns of features (joined by
        commas). Several text columns are joined by line ends.
    split : str, optional
        The one split to keep (``"train"``, ``"test"``, ...), or the column that holds it.
    encoding, delimiter, header : optional
        Of a text file; Python's codec name, one character (or ``tab``), and whether the first row
        names the columns.
    root : path-like, optional
        Folder that the file names of a table are relative to; by default the table's own folder
        (the current folder for a table in memory). A name that leads out of it is refused;
        absolute names are refused unless `root` is given and they lie below it.
    max_bad : float, optional
        Share of rows (in all, and of one class) that may be set aside before reading stops; 0.01
        by default.
    optional : tuple of str, default=()
        Options among ``label, domain, group, id, split`` whose column may be absent, which is
        then noted: an unlabelled target has no label column.
    inputs : tuple of str, default=()
        Columns that no guess may take for a label, domain, group or id, whatever their name: the
        features of the data that these belong to.

    Returns
    -------
    Samples
        Rows in the order of the file; labels are names, never positions.

    Raises
    ------
    UsageError
        If an option is wrong or names a column that does not exist.
    DataError
        If the data cannot be read, or too much of it is bad.

    Examples
    --------
    >>> samples = read([[0.0, 1.0], [1.0, 0.0]], label=["yes", "no"])
    >>> samples.modality, samples.classes
    ('features', ('no', 'yes'))
    """
    limit = DEFAULT_MAX_BAD if max_bad is None else max_bad
    options = Options(
        modality=modality,
        task=task,
        label=label,
        domain=domain,
        group=group,
        text=text,
        file=file,
        split=split,
        features=features,
        id=id,
        encoding=encoding,
        delimiter=delimiter,
        header=header,
        root=root,
        max_bad=limit,
        optional=tuple(optional),
        inputs=tuple(inputs),
    )
    check_bad_share((), 0, max_bad=limit)
    if isinstance(data, Samples):
        return _again(data, options)
    if isinstance(data, (str, Path)):
        return _path(Path(data), options)
    return _memory(data, options)


def _again(samples: Samples, options: Options) -> Samples:
    """Samples pass through; only a split may still be chosen."""
    given = set(options.given()) - {"max_bad", "split"}
    if given:
        raise UsageError(
            f"--{sorted(given)[0]} cannot change what has been read already",
            where=samples.origin,
            remedy="Give the option where the data is read first",
        )
    samples = dataclasses.replace(samples, understood=dict(samples.understood))
    return keep_split(samples, options.wanted("split"))


def _path(path: Path, options: Options) -> Samples:
    if path.is_dir():
        return _folder(path, options)
    if not path.exists():
        raise _no_such_path(path)
    if not path.is_file():
        raise DataError("not a regular file", where=str(path))
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        sheet = read_file(path, options)
        return _named(to_samples(add_beside(sheet, {}, options), options), path)
    if suffix in _ARRAYS:
        return _named(read_npz(path, options), path)
    if media_kind(suffix):
        return read_arrays([path], None, options, name=str(path))
    raise DataError(
        f"files of the kind {suffix or 'without a suffix'} are not read",
        where=str(path),
        remedy=_REFUSED.get(
            suffix, "Give a folder, CSV, TSV, JSONL, Parquet, .txt, .npz, an image or a recording"
        ),
    )


def _folder(path: Path, options: Options) -> Samples:
    """A folder of media, of tables, or of media that a table describes."""
    found = read_table_folder(path, options)
    if found is not None:
        return _named(found, path)
    from isthmus.data.folders import read_folder

    passed = ("modality", "task", "domain", "label", "group", "split", "max_bad", "optional")
    unfit = [name for name in options.given() if name not in passed]
    if unfit:
        raise UsageError(
            f"--{unfit[0]} does not fit a folder of files",
            where=str(path),
            remedy="It is for tables; give the table's own path",
        )
    arguments: dict[str, Any] = {}
    for role in ("label", "domain", "group"):
        value = "none" if options.refused(role) else options.wanted(role)
        if value is not None and not isinstance(value, str):
            raise UsageError(
                f"values of {role} cannot be given beside a folder",
                where=f"--{role}",
                remedy="Give a pattern, or a table with a file column",
            )
        if value is not None and role in options.optional and "{" not in value:
            value = None if value != "none" else value
        arguments[role] = value
    wanted = options.wanted("split")
    pattern = isinstance(wanted, str) and "{" in wanted
    arguments["split"] = "none" if options.refused("split") else wanted if pattern else None
    samples = read_folder(path, modality=options.modality, task=options.task, **arguments)
    labels = samples.labels if samples.task == "classification" else None
    totals = None if labels is None else _totals(samples)
    check_bad_share(samples.quarantine, samples.seen, max_bad=options.max_bad, labels=totals)
    return samples if pattern else keep_split(samples, wanted)


def _totals(samples: Samples) -> list[str]:
    """Label names of all rows seen, the set aside ones included."""
    assert samples.labels is not None
    good = [name for name in samples.labels if name is not None]
    return good + [p.label for p in samples.quarantine if p.label is not None]


def _memory(data: Any, options: Options) -> Samples:
    if is_hub(data):
        return to_samples(add_beside(sheet_from_hub(data), {}, options), options)
    if isinstance(data, Mapping):
        return _mapping(data, options)
    if _is_frame(data):
        return to_samples(add_beside(from_frame(data, options), {}, options), options)
    if isinstance(data, np.ndarray) and data.dtype.names:
        return _memory({name: data[name] for name in data.dtype.names}, options)
    if _is_pair(data):
        X, y = data
        if _is_frame(X):
            sheet = from_frame(X, options)
            return to_samples(add_beside(sheet, {"label": y}, options), options)
        return _rows(_plain(X), _plain(y), options)
    if isinstance(data, (list, tuple)) and data and all(isinstance(v, Mapping) for v in data):
        return to_samples(add_beside(from_frame(list(data), options), {}, options), options)
    if isinstance(data, (bytes, bytearray)):
        return read_arrays([bytes(data)], None, options, name="bytes")
    rows = _plain(data)
    if isinstance(rows, (list, tuple, np.ndarray)) or hasattr(rows, "toarray"):
        return _rows(rows, None, options)
    raise UsageError(
        f"data of type {type(data).__module__}.{type(data).__qualname__} cannot be read",
        remedy="Give a path, arrays, a pandas or polars frame, a datasets.Dataset or a Bunch",
    )


def _rows(X: Any, y: Any, options: Options) -> Samples:
    """Arrays; as a table where that is asked for, because only tables may have gaps."""
    if options.modality == "table":
        import pandas as pd

        sheet = from_frame(pd.DataFrame(np.asarray(X)), options, name="array")
        sheet.frame.columns = [f"column_{i + 1}" for i in range(sheet.frame.shape[1])]
        return to_samples(add_beside(sheet, {"label": y}, options), options)
    return read_arrays(X, y, options)


def _mapping(data: Mapping[str, Any], options: Options) -> Samples:
    keys = {str(key).lower() for key in data}
    if type(data).__name__ == "Bunch" or {"data", "target"} <= keys:
        return read_bunch(data, options)
    if "x" in keys and keys <= {"x", "y", "domain", "group", "split"}:
        return from_named({str(k): _plain(v) for k, v in data.items()}, options, "arrays")
    return to_samples(add_beside(from_frame(dict(data), options), {}, options), options)


def _is_frame(value: Any) -> bool:
    module = type(value).__module__.partition(".")[0]
    return module in ("pandas", "polars") and type(value).__name__ in ("DataFrame", "LazyFrame")


def _is_pair(value: Any) -> bool:
    """(X, y), and not one recording (samples, rate)."""
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    X, y = value
    if y is None:
        return not isinstance(X, (str, Path))
    sized = hasattr(X, "__len__") or hasattr(X, "shape")
    return sized and not isinstance(X, (str, bytes)) and np.ndim(y) > 0 and not isinstance(y, str)


def _plain(value: Any) -> Any:
    """Series, tensors and the like as arrays or lists."""
    module = type(value).__module__.partition(".")[0]
    if module in ("pandas", "polars") and hasattr(value, "to_list"):
        return value.to_list()
    if isinstance(value, (list, tuple, np.ndarray)) or value is None or hasattr(value, "toarray"):
        return value
    if hasattr(value, "__array__"):
        try:
            return np.asarray(value)
        except (TypeError, RuntimeError) as error:
            raise UsageError(
                f"a {type(value).__name__} cannot be turned into an array",
                why=str(error)[:200],
                remedy="Move it to the CPU: tensor.detach().cpu()",
            ) from None
    return value


def _named(samples: Samples, path: Path) -> Samples:
    return dataclasses.replace(samples, origin=str(path))


def _no_such_path(path: Path) -> DataError:
    if str(path).startswith(("http:/", "https:/", "s3:/", "gs:/", "ftp:/")):
        return DataError(
            "this is an address, not a file",
            where=str(path)[:200],
            why="nothing is ever fetched",
            remedy="Download it first (curl -O ADDRESS), then give the file",
        )
    if any(sign in path.name for sign in "*?["):
        return DataError(
            "no such file or folder",
            where=str(path)[:200],
            why="it looks like a pattern, and patterns are not filled in here",
            remedy="Give the folder; `isthmus predict DIR *.jpg` without quotes takes many files",
        )
    hint = near_path(path).rstrip() or "Check the path"
    if " " in path.name and not hint.startswith("Did"):
        hint = "Check the path; a text itself is given as a list: [text]"
    return DataError("no such file or folder", where=str(path)[:200], remedy=hint)
