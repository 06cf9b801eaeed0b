"""Layer 1: arrays by name: `.npz` files, scikit-learn Bunches, values given beside a table."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data.arrays import given_beside, read_arrays
from isthmus.data.options import Options
from isthmus.data.paths import SPLITS
from isthmus.data.samples import Samples
from isthmus.data.sheet import Sheet, unique_names
from isthmus.errors import DataError, UsageError
from isthmus.types import Array

# what NumPy's and Python's readers raise on bytes that are not what they claim to be
_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    SyntaxError,
    MemoryError,
    RuntimeError,
    UserWarning,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)
_BOMB_BYTES, _BOMB_RATIO = 2 << 30, 100


def read_npz(path: Path, options: Options) -> Samples:
    """A `.npz` file with X and y, or X_NAME and y_NAME for several domains or splits.

    Object arrays are never read: they are pickles, and pickles can run code.
    """
    try:
        raw = path.read_bytes()
        if path.suffix.lower() == ".npy":
            array = np.load(io.BytesIO(raw), allow_pickle=False)
            return read_arrays(array, None, options, name=path.name)
        _refuse_bomb(raw, path.name)
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except DataError:
        raise
    except _DAMAGE as error:
        pickled = "pickle" in str(error).lower()
        raise DataError(
            "the arrays cannot be read",
            where=path.name,
            why="it holds Python objects, which can run code" if pickled else str(error)[:200],
            remedy="Save plain numbers or strings, with np.savez(file, X=..., y=...)",
        ) from None
    return from_named(arrays, options, path.name)


def _refuse_bomb(raw: bytes, name: str) -> None:
    """Refuse an archive that would unpack to gigabytes from next to nothing."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max(_BOMB_BYTES, _BOMB_RATIO * len(raw)):
        raise DataError(
            f"the file of {len(raw):,} bytes unpacks to {size:,} bytes",
            where=name,
            why="this is how a decompression bomb looks",
            remedy="Save the arrays with numpy.savez (uncompressed) if they are yours",
        )


def from_named(arrays: dict[str, Array], options: Options, name: str) -> Samples:
    """Arrays by name: X and y, or one pair per suffix."""
    lowered = {key.lower(): key for key in arrays}
    whole = next((lowered[k] for k in ("x", "data", "features", "images") if k in lowered), None)
    if whole is None and len(arrays) == 1:
        whole = next(iter(arrays))
    if whole is not None:
        beside = {
            role: arrays[lowered[key]]
            for role, keys in _ARRAY_NAMES.items()
            for key in keys
            if key in lowered and lowered[key] != whole
        }
        return read_arrays(arrays[whole], None, options, name=name, beside=beside)
    parts = [key[2:] for key in arrays if key.lower().startswith("x_")]
    if not parts:
        raise DataError(
            f"no array X among {', '.join(arrays) or 'no arrays at all'}",
            where=name,
            remedy="Save it as np.savez(file, X=..., y=...)",
        )
    role = "split" if {part.lower() for part in parts} <= set(SPLITS) else "domain"
    pairs = [(part, arrays[_key(arrays, "x", part)], _labels_of(arrays, part)) for part in parts]
    shapes = {x.shape[1:] for _, x, _ in pairs}
    if len(shapes) > 1 or len({x.ndim for _, x, _ in pairs}) > 1:
        raise DataError(
            f"the arrays {', '.join(f'X_{part}' for part in parts)} have different shapes",
            where=name,
            why=", ".join(f"{part}: {x.shape}" for part, x, _ in pairs),
            remedy="Save them in separate files",
        )
    X = np.concatenate([x for _, x, _ in pairs])
    names = [part for part, x, _ in pairs for _ in range(len(x))]
    y: list[Any] | None = None
    if any(labels is not None for _, _, labels in pairs):
        y = []
        for part, x, labels in pairs:
            if labels is not None and len(labels) != len(x):
                raise DataError(f"{len(labels)} labels for {len(x)} rows of X_{part}", where=name)
            y.extend([None] * len(x) if labels is None else list(labels))
    return read_arrays(X, y, options, name=name, beside={role: names})


_ARRAY_NAMES = {
    "label": ("y", "label", "labels", "target", "targets"),
    "domain": ("domain", "domains"),
    "group": ("group", "groups"),
    "split": ("split",),
}


def _key(arrays: Mapping[str, Any], letter: str, part: str) -> str:
    return next(k for k in arrays if k[:2].lower() == f"{letter}_" and k[2:] == part)


def _labels_of(arrays: Mapping[str, Array], part: str) -> Array | None:
    return next((arrays[k] for k in arrays if k[:2].lower() == "y_" and k[2:] == part), None)


def read_bunch(bunch: Mapping[str, Any], options: Options) -> Samples:
    """A scikit-learn Bunch: ``data``, ``target``, ``target_names``, ``feature_names``, ``frame``.

    Integer targets become their names. ``data`` is read as features; ``--modality image`` reads
    ``images`` where the bunch has them, stretched from their own range to 0..255.
    """
    name = "bunch"
    data, target = bunch.get("data"), bunch.get("target")
    if data is None:
        raise DataError("the bunch has no data", where=name, remedy="Give (X, y) instead")
    target = _named_targets(target, bunch.get("target_names"))
    if options.modality == "image":
        if bunch.get("images") is None:
            raise UsageError("the bunch has no images", where="--modality")
        return read_arrays(_stretched(bunch["images"]), target, options, name=name)
    if hasattr(data, "columns"):
        from isthmus.data.frames import to_samples
        from isthmus.data.tables import from_frame

        sheet = from_frame(data, options, name=name)
        return to_samples(add_beside(sheet, {"label": target}, options), options)
    return read_arrays(data, target, options, name=name)


def add_beside(sheet: Sheet, beside: Mapping[str, Any], options: Options) -> Sheet:
    """Values per row that came beside a table become columns of it, under names of their own."""
    for role, values in {**beside, **given_beside(options, sheet.frame.columns)}.items():
        if values is None:
            continue
        if len(values) != len(sheet.frame):
            raise UsageError(
                f"{len(values)} values of {role} for {len(sheet.frame)} rows", where=f"--{role}"
            )
        plain = [list(v) if isinstance(v, np.ndarray) else v for v in values]
        column = unique_names([*sheet.frame.columns, f"{role} (given)"], [])[-1]
        sheet.frame = sheet.frame.assign(**{column: _object_column(plain, sheet.frame.index)})
        sheet.given[role] = column
    return sheet


def _object_column(values: list[Any], index: Any) -> Any:
    import pandas as pd

    return pd.Series(values, index=index, dtype=object)


def _stretched(images: Any) -> Array:
    """Whole numbers of a small range (optdigits: 0..16) -> 0..255 by the power of two above."""
    array = np.asarray(images)
    high = float(array.max())
    if 1 < high <= 64 and np.all(array == np.round(array)) and array.min() >= 0:
        top = 2 ** int(np.ceil(np.log2(high)))
        return np.round(array * (255.0 / top)).astype(np.uint8)
    return array


def _named_targets(target: Any, names: Any) -> Any:
    """Positions -> names where the bunch has a name for each position."""
    if target is None or names is None or len(names) < 2:
        return target
    array = np.asarray(target)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        return target
    if array.min() < 0 or array.max() >= len(names):
        return target
    return [str(names[position]) for position in array.tolist()]
