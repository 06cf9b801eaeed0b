"""Layer 2: one file of the feature store: n keys and n feature rows under their own digest.

A shard is a safetensors file whose name is the SHA-256 of its bytes and whose metadata name the
backbone, so damage, truncation, renaming, and a file from another backbone all show before a
single number is used. A shard is written once and never changed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from isthmus import iofs
from isthmus.backbone.keys import ENGINE_VERSION, KEY_BYTES, as_words
from isthmus.errors import StoreError
from isthmus.types import Array

SUFFIX = ".safetensors"
FORMAT = "isthmus-features-1"
# Files seen intact by this process, by identity and time stamps: they are hashed once.
_verified: set[tuple[Any, ...]] = set()


class DamagedShard(Exception):
    """The file is not what its name says; `str()` is the reason. Never leaves this package."""


@dataclass(frozen=True)
class Shard:
    """An open shard; `keys` and `features` are views of the file's memory map.

    Parameters
    ----------
    path : Path
    keys : ndarray of shape (n,), dtype S32
        Sorted or not; 32 bytes each.
    features : ndarray of shape (n, d), float32
    metadata : dict
        ``format``, ``space``, ``engine``, ``backbone``.
    """

    path: Path
    keys: Array
    features: Array
    metadata: dict[str, str]


def write_shard(
    folder: Path, keys: Array, features: Array, *, space: str, backbone: str = ""
) -> Path:
    """Write rows as one new shard, all or nothing.

    Parameters
    ----------
    folder : Path
        Folder of the space; made where missing.
    keys : ndarray of shape (n, 32), uint8
    features : ndarray of shape (n, d), float32
    space : str
        The backbone's fingerprint.
    backbone : str
        Its name, for `isthmus cache info`.

    Returns
    -------
    Path
        Named by the SHA-256 of the file.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written.
    """
    from safetensors.numpy import save

    metadata = {
        "format": FORMAT,
        "space": space,
        "engine": str(ENGINE_VERSION),
        "backbone": backbone,
    }
    data = save(
        {
            "keys": np.ascontiguousarray(keys, dtype=np.uint8),
            "features": np.ascontiguousarray(features, dtype=np.float32),
        },
        # One entry only: safetensors writes several in random order, and the same rows would get
        # another digest each time.
        metadata={"isthmus": iofs.canonical_json(metadata).decode()},
    )
    path = folder / f"{iofs.sha256_bytes(data)}{SUFFIX}"
    try:
        try:
            _write(path, data)
        except FileNotFoundError:  # another process pruned the empty folder just now
            _write(path, data)
    except OSError as error:
        raise write_error(error, folder) from error
    return path


def _write(path: Path, data: bytes) -> None:
    with iofs.writing(path) as handle:  # not `write_bytes`, which would hash it once more
        handle.write(data)


def write_error(error: OSError, folder: Path) -> StoreError:
    """The refusal for a store that cannot be written, with the remedy for its cause."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = (
            "Free some space, run `isthmus cache prune --max-size 2GB`, or set ISTHMUS_CACHE to a "
            "folder on a larger disk"
        )
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "Make the folder writable, or set ISTHMUS_CACHE to a folder that is"
    else:
        remedy = "Check the disk, or set ISTHMUS_CACHE to another folder"
    return StoreError(
        "features cannot be written to the store",
        where=str(folder),
        why=error.strerror or str(error),
        remedy=remedy,
    )


def open_shard(path: Path, *, space: str | None = None) -> Shard:
    """Map a shard and check its form; its digest is checked by `verify_shard` before use.

    Parameters
    ----------
    space : str, optional
        Fingerprint that the metadata must name.

    Raises
    ------
    DamagedShard
        With the reason.
    FileNotFoundError
        If another process merged or pruned it meanwhile.
    """
    with open(path, "rb") as handle:
        return _mapped(path, handle, space)


def verify_shard(path: Path, *, space: str | None = None, fresh: bool = False) -> Shard:
    """Open a shard whose every byte has been checked against its name.

    Parameters
    ----------
    fresh : bool, default=False
        Hash it even if this process did so already and the file's time stamps are unchanged.

    Raises
    ------
    DamagedShard, FileNotFoundError
        As `open_shard`.
    """
    with open(path, "rb") as handle:
        identity = _identity(handle)
        known = (identity, path.name)
        if fresh or known not in _verified:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            if f"{digest}{SUFFIX}" != path.name:
                _verified.discard(known)
                raise DamagedShard(f"its SHA-256 is {digest[:12]}..., not the one in its name")
            # A change within the clock's tick of the last one would leave the stamps as they are.
            settled = time.time_ns() - max(identity[-2:]) > 2_000_000_000
            if settled and _identity(handle) == identity:
                _verified.add(known)
        return _mapped(path, handle, space)


def _identity(handle: IO[bytes]) -> tuple[Any, ...]:
    stat = os.fstat(handle.fileno())
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _mapped(path: Path, handle: IO[bytes], space: str | None) -> Shard:
    size = os.fstat(handle.fileno()).st_size
    if size < 8:
        raise DamagedShard(f"only {size} bytes")
    view = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(view[:8], "little")
    if length > min(iofs.MAX_HEADER, size - 8):
        raise DamagedShard("its header is cut short or oversized")
    body = size - 8 - length
    try:
        header = json.loads(view[8 : 8 + length])
        metadata = json.loads(header["__metadata__"]["isthmus"])
        if metadata["format"] != FORMAT or set(header) != {"__metadata__", "keys", "features"}:
            raise ValueError("another format or version")
        rows, _, keys_at = _tensor(header["keys"], "U8", 1, body)
        count, width, features_at = _tensor(header["features"], "F32", 4, body)
        if rows != count or body != rows * (KEY_BYTES + 4 * width):
            raise ValueError("keys, features and file size do not fit together")
        found = str(metadata["space"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedShard(f"its header is not one of a feature shard ({error})"[:200]) from None
    if space is not None and found != space:
        raise DamagedShard(f"it belongs to another backbone ({found[:12]}...)")
    keys = np.frombuffer(view, np.uint8, rows * KEY_BYTES, 8 + length + keys_at)
    features = np.frombuffer(view, "<f4", rows * width, 8 + length + features_at)
    return Shard(
        path,
        as_words(keys.reshape(rows, KEY_BYTES)),
        features.reshape(rows, width),
        metadata,
    )


def _tensor(entry: dict[str, Any], kind: str, wide: int, body: int) -> tuple[int, int, int]:
    """(rows, width, start) of a header entry, once type, shape and place are what they must be."""
    (rows, width), (start, end) = entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in (rows, width, start, end)):
        raise ValueError("odd numbers")
    if entry["dtype"] != kind or end - start != rows * width * wide or end > body:
        raise ValueError(f"a tensor is not {kind} of its stated size")
    if kind == "U8" and width != KEY_BYTES:
        raise ValueError(f"keys are not {KEY_BYTES} bytes wide")
    return rows, width, start
