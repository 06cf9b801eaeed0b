"""Layer 0: the only module that writes files, and the careful way to read our own.

Every write goes to a temporary file in the same folder, is flushed to the disk and renamed over
its final name, so a reader sees the old bytes or the new ones, never half of each.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.types import Array

TEMP_SUFFIX = ".part"
MAX_HEADER = 16 * 1024 * 1024  # safetensors itself allows 100 MB; ours stay far below this


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of a buffer, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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

    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    return write_bytes(path, save(arrays, metadata=dict(metadata or {})))


def tensor_header(path: str | Path) -> dict[str, Any]:
    """Header of a safetensors file, checked against the file's size before it is parsed.

    Raises
    ------
    IsthmusError
        If the header is oversized, cut short, not JSON, or points outside the file.
    """
    path = Path(path)

    def refuse(why: str) -> IsthmusError:
        return IsthmusError("not a safetensors file that can be trusted", where=str(path), why=why)

    size = path.stat().st_size
    with open(path, "rb") as handle:
        prefix = handle.read(8)
        if len(prefix) < 8:
            raise refuse("shorter than its 8-byte length field")
        length = int.from_bytes(prefix, "little")
        if length > min(MAX_HEADER, size - 8):
            raise refuse(f"header claims {length} bytes in a file of {size}")
        raw = handle.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise refuse("header is not JSON") from None
    if not isinstance(header, dict):
        raise refuse("header is not a JSON object")
    body = size - 8 - length
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        inside = (
            isinstance(offsets, list)
            and len(offsets) == 2
            and all(isinstance(o, int) for o in offsets)
            and 0 <= offsets[0] <= offsets[1] <= body
        )
        if not inside:
            raise refuse(f"tensor {name!r} lies outside the file")
    return header


def read_tensors(path: str | Path, *, digest: str | None = None) -> dict[str, Array]:
    """Read a safetensors file of ours into memory.

    Parameters
    ----------
    digest : str, optional
        Expected SHA-256; a difference is refused before the content is parsed.

    Raises
    ------
    IsthmusError
        If the digest differs or the header is hostile.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    check_digest(path, digest)
    tensor_header(path)
    try:
        return load(Path(path).read_bytes())
    except SafetensorError as error:
        raise IsthmusError(
            "not a safetensors file that can be trusted", where=str(path), why=str(error)
        ) from None


def read_json(path: str | Path, *, digest: str | None = None, limit: int = 256 << 20) -> Any:
    """Read a JSON file of ours; refuse a wrong digest, an oversized or a malformed file.

    Raises
    ------
    IsthmusError
        With the path and the reason.
    """
    path = Path(path)
    check_digest(path, digest)
    if path.stat().st_size > limit:
        raise IsthmusError("the JSON file is too large", where=str(path), why=f"over {limit} bytes")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise IsthmusError("not JSON", where=str(path), why=str(error)[:200]) from None


def check_digest(path: str | Path, digest: str | None) -> None:
    """Refuse a file whose SHA-256 is not `digest` (None: no check)."""
    if digest is None:
        return
    found = sha256_file(path)
    if found != digest:
        raise IsthmusError(
            "the file's bytes are not the ones that were recorded",
            where=str(path),
            why=f"SHA-256 {found[:12]}..., expected {digest[:12]}...",
            remedy="It was damaged or replaced: restore it or make it anew",
        )


def open_inside(root: str | Path, name: str) -> Path:
    """Path of `name` below `root`; absolute names, ``..`` and links that leave it are refused.

    Raises
    ------
    IsthmusError
        If the resolved path is not inside the resolved root.
    """
    base = Path(root).resolve()
    if "\0" in name:
        raise IsthmusError("a file name holds a NUL byte", where=str(base))
    path = (base / name).resolve()
    if Path(name).is_absolute() or not path.is_relative_to(base):
        raise IsthmusError(
            f"the name {name!r} leads outside its folder",
            where=str(base),
            why="a file may only refer to files beside or below it",
        )
    return path


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
        if not pid.isdigit() or not Path(f"/proc/{pid}").exists():
            stale.append(path)
    return stale


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
