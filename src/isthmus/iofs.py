"""Layer 0: the only module that writes files; the careful reading beside it is in `strict`.

Every write goes to a temporary file in the same folder, is flushed to the disk and renamed over
its final name, so a reader sees the old bytes or the new ones, never half of each.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from isthmus.strict import MAX_HEADER as MAX_HEADER
from isthmus.strict import check_digest as check_digest
from isthmus.strict import open_inside as open_inside
from isthmus.strict import parse_json as parse_json
from isthmus.strict import read_bytes as read_bytes
from isthmus.strict import read_json as read_json
from isthmus.strict import read_tensors as read_tensors
from isthmus.strict import sha256_bytes as sha256_bytes
from isthmus.strict import sha256_file as sha256_file
from isthmus.strict import tensor_header as tensor_header
from isthmus.strict import tensors_from_bytes as tensors_from_bytes
from isthmus.types import Array

TEMP_SUFFIX = ".part"


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, UTF-8, NaN refused.

    Raises
    ------
    ValueError
        On NaN or infinity: JSON has no such numbers.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


@contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file for an all-or-nothing write (temp + fsync + rename + fsync of the folder).

    Parameters
    ----------
    path : path-like
        Final name. Missing parent folders are made.

    Yields
    ------
    binary file handle
        Positioned at 0. If the block raises, the final name is left as it was.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMP_SUFFIX}")
    try:
        with open(temporary, "xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(final)
        _sync_folder(final.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | Path, data: bytes) -> str:
    """Write atomically; return the SHA-256 of what was written."""
    with writing(path) as handle:
        handle.write(data)
    return sha256_bytes(data)


def write_text(path: str | Path, text: str) -> str:
    """Write UTF-8 text atomically; return its SHA-256."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> str:
    """Write readable JSON with sorted keys atomically; NaN is refused; return its SHA-256."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def write_tensors(
    path: str | Path, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> str:
    """Write a safetensors file atomically; return its SHA-256.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        C-contiguous copies are made where needed; object arrays are refused by safetensors.
    metadata : mapping of str to str, optional
        Free text that travels in the header.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    return write_bytes(path, save(arrays, metadata=dict(metadata) if metadata else None))


def remove(paths: Iterable[str | Path]) -> int:
    """Delete files or folders that exist; return how many were there."""
    count = 0
    for item in map(Path, paths):
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.exists() or item.is_symlink():
            item.unlink(missing_ok=True)
        else:
            continue
        count += 1
    return count


def stale_parts(root: str | Path) -> list[Path]:
    """Temporary files below `root` whose writer is no longer alive (kill -9, power cut)."""
    stale = []
    for path in Path(root).rglob(f".*{TEMP_SUFFIX}"):
        pid = path.name.split(".")[-3] if path.name.count(".") >= 4 else ""
        if not _alive(pid):
            stale.append(path)
    return stale


def _alive(pid: str) -> bool:
    if not pid.isdigit() or not 0 < int(pid) < 1 << 31:
        return False
    try:
        os.kill(int(pid), 0)  # signal 0 only asks whether the process exists
    except ProcessLookupError:
        return False
    except OSError:  # it exists and belongs to somebody else
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; some file systems do not support it, which is no error."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


@contextmanager
def staging(folder: str | Path, *, last: str) -> Iterator[Path]:
    """Fill a temporary folder, then move what is in it into `folder`.

    A folder that is new or empty appears by one rename. In one that holds other things, entries
    of the same name are replaced one by one and the file `last` comes at the very end: if it
    names the digests of the others, a reader sees all old, all new, or a mixture that it refuses.

    Yields
    ------
    Path
        The temporary folder, beside `folder`. If the block raises, `folder` is left as it was.
    """
    final = Path(folder)
    final.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{os.getpid()}.{secrets.token_hex(4)}{TEMP_SUFFIX}"
    temporary = final.parent / f".{final.name}.{mark}"
    for left in final.parent.glob(f".{glob.escape(final.name)}.*{TEMP_SUFFIX}"):
        if left.is_dir() and not _alive(left.name.split(".")[-3]):  # of a killed process
            shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if not final.exists() or not any(final.iterdir()):
            temporary.replace(final)
        else:
            entries = sorted(temporary.iterdir(), key=lambda entry: (entry.name == last, entry))
            for entry in entries:
                old = final / entry.name
                if old.is_dir() and not old.is_symlink():  # a rename cannot replace a full folder
                    old.replace(temporary / f".{entry.name}.old")
                entry.replace(old)
            _sync_folder(final)
        _sync_folder(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def set_aside(path: str | Path, folder: str | Path) -> Path | None:
    """Move a damaged file into `folder` under a fresh name; None if another process was faster."""
    path, folder = Path(path), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.name}.{secrets.token_hex(4)}"
    try:
        path.replace(target)
    except FileNotFoundError:
        return None
    return target


def scratch_array(folder: str | Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A float32 array in a temporary file of `folder`, for results larger than memory should hold.

    The disk space is reserved at once, so a full disk is an error here and never a crash later.
    The file is removed when the last view of the array is gone, or at the latest at exit; what a
    killed process leaves behind is found by `stale_parts`.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".features.{os.getpid()}.{secrets.token_hex(4)}{TEMP_SUFFIX}"
    try:
        with open(path, "xb") as handle:
            size = 4 * int(np.prod(shape, dtype=np.int64))
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle.fileno(), 0, size)
            else:
                handle.truncate(size)
        array = np.memmap(path, dtype=np.float32, mode="r+", shape=shape)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    # The mapping, not the array: views keep the mapping alive but may outlive the array object.
    weakref.finalize(array._mmap, _remove_own, path, os.getpid())  # type: ignore[attr-defined]
    return array


def _remove_own(path: Path, pid: int) -> None:
    """Delete the file unless this is a forked child: the parent may still need it."""
    if os.getpid() == pid:
        path.unlink(missing_ok=True)
