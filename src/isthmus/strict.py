"""Layer 0: the careful way to read files that may be damaged or hostile. Nothing here writes.

Everybody imports these names from `isthmus.iofs`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.types import Array

MAX_HEADER = 16 * 1024 * 1024  # safetensors itself allows 100 MB; ours stay far below this
# Bits of one element of each safetensors dtype.
TENSOR_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
    "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of a buffer, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def parse_json(raw: bytes) -> Any:
    """Strict JSON from bytes.

    Raises
    ------
    ValueError
        If it is not UTF-8, not JSON, holds NaN or a number of thousands of digits, or names a key
        twice.
    RecursionError
        If it is nested too deeply.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice in one object")
        return found

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not a JSON number")

    def finite(text: str) -> float:
        if not math.isfinite(value := float(text)):  # 1e999
            raise ValueError(f"{text[:20]} is not a finite number")
        return value

    return json.loads(
        raw.decode(), object_pairs_hook=once, parse_constant=no_constant, parse_float=finite
    )


def untrusted(path: Path, why: str) -> IsthmusError:
    """The refusal of a safetensors file."""
    return IsthmusError(
        "not a safetensors file that can be trusted",
        where=str(path),
        why=why[:200],
        remedy="It is damaged or of another kind: copy or download it again",
    )


def header_length(prefix: bytes, size: int, path: Path) -> int:
    """Length of the header from the first eight bytes of a safetensors file of `size` bytes."""
    if len(prefix) < 8:
        raise untrusted(path, "shorter than its 8-byte length field")
    length = int.from_bytes(prefix[:8], "little")
    if length > min(MAX_HEADER, size - 8):
        raise untrusted(path, f"header claims {length} bytes in a file of {size}")
    return length


def check_header(raw: bytes, body: int, path: Path) -> dict[str, Any]:
    """The header, if its tensors fill the `body` bytes after it without gaps and overlaps."""
    try:
        header = parse_json(raw)
    except (ValueError, RecursionError) as error:
        raise untrusted(path, f"header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise untrusted(path, "header is not a JSON object")
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
                raise untrusted(path, "its metadata are not strings")
            continue
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise untrusted(path, f"tensor {name!r} is not described by dtype, shape and offsets")
        if not _counts(entry["data_offsets"]) or len(entry["data_offsets"]) != 2:
            raise untrusted(path, f"tensor {name!r} lies outside the file")
        if not _counts(entry["shape"]) or len(entry["shape"]) > 64:
            raise untrusted(path, f"tensor {name!r} has a shape that is none")
        start, end = entry["data_offsets"]
        if not start <= end <= body:
            raise untrusted(path, f"tensor {name!r} lies outside the file")
        bits = TENSOR_BITS.get(str(entry["dtype"]))
        # Python integers: the product cannot overflow
        if bits is None or 8 * (end - start) != bits * math.prod(entry["shape"]):
            raise untrusted(path, f"tensor {name!r}: dtype and shape do not fit its bytes")
        spans.append((start, end))
    at = 0
    for start, end in sorted(spans):
        if start != at:
            raise untrusted(path, "its tensors overlap or leave a gap")
        at = end
    if at != body:
        raise untrusted(path, f"{body - at} bytes belong to no tensor")
    return header


def _counts(value: Any) -> bool:
    """A list of integers >= 0 that fit 63 bits (True and False are none)."""
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in value)


def tensor_header(path: str | Path) -> dict[str, Any]:
    """Header of a safetensors file, checked against the file's size before it is parsed.

    Raises
    ------
    IsthmusError
        If the header is oversized, cut short, not JSON, names a tensor twice, or its tensors do
        not fill the rest of the file exactly, without gaps and overlaps.
    """
    path = Path(path)
    size = _regular(path).st_size
    with open(path, "rb") as handle:
        prefix = handle.read(8)
        length = header_length(prefix, size, path)
        return check_header(handle.read(length), size - 8 - length, path)


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
    path = Path(path)
    raw = read_bytes(path)
    _compare(path, digest, sha256_bytes(raw) if digest else None)
    return tensors_from_bytes(raw, path)


def tensors_from_bytes(raw: bytes, path: str | Path) -> dict[str, Array]:
    """Tensors (read-only) of a safetensors file in memory; `path` is for messages.

    Raises
    ------
    IsthmusError
        If the header is hostile.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    length = header_length(raw[:8], len(raw), path)
    header = check_header(raw[8 : 8 + length], len(raw) - 8 - length, path)
    try:
        return load(raw) if any(name != "__metadata__" for name in header) else {}
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a dtype NumPy lacks
        raise untrusted(path, str(error)) from None


def read_bytes(path: str | Path, *, limit: int | None = None) -> bytes:
    """Bytes of a regular file; pipes, devices, folders and oversized files are refused.

    Raises
    ------
    IsthmusError
        With the path and the reason.
    """
    path = Path(path)
    size = _regular(path).st_size
    if limit is not None and size > limit:
        raise IsthmusError("the file is too large", where=str(path), why=f"over {limit} bytes")
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def read_json(path: str | Path, *, digest: str | None = None, limit: int = 256 << 20) -> Any:
    """Read a JSON file of ours; refuse a wrong digest, an oversized or a malformed file.

    Malformed is also what a plain parser lets pass: names that occur twice, NaN, other encodings
    than UTF-8, and nesting that overflows the stack.

    Raises
    ------
    IsthmusError
        With the path and the reason.
    """
    raw = read_bytes(path, limit=limit)
    _compare(Path(path), digest, sha256_bytes(raw) if digest else None)
    try:
        return parse_json(raw)
    except (ValueError, RecursionError) as error:
        raise IsthmusError("not JSON", where=str(path), why=str(error)[:200]) from None


def check_digest(path: str | Path, digest: str | None) -> None:
    """Refuse a file whose SHA-256 is not `digest` (None: no check)."""
    if digest is None:
        return
    _regular(Path(path))
    try:
        found = sha256_file(path)
    except OSError as error:
        raise _unreadable(Path(path), error) from None
    _compare(Path(path), digest, found)


def _compare(path: Path, digest: str | None, found: str | None) -> None:
    if digest is None or found == digest:
        return
    raise IsthmusError(
        "the file's bytes are not the ones that were recorded",
        where=str(path),
        why=f"SHA-256 {str(found)[:12]}..., expected {str(digest)[:12]}...",
        remedy="It was damaged or replaced: restore it or make it anew",
    )


def _regular(path: Path) -> os.stat_result:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(found.st_mode):
        raise IsthmusError("not a regular file", where=str(path))
    return found


def _unreadable(path: Path, error: Exception) -> IsthmusError:
    return IsthmusError(
        "the file cannot be read",
        where=str(path),
        why=getattr(error, "strerror", None) or str(error),
        remedy="Check that it exists and that you may read it",
    )


def open_inside(root: str | Path, name: str) -> Path:
    """Path of `name` below `root`; absolute names, ``..`` and links that leave it are refused.

    Raises
    ------
    IsthmusError
        If the resolved path is not inside the resolved root.
    """
    base = Path(root).resolve()
    if not isinstance(name, str) or "\0" in name:
        raise IsthmusError("a file name is not text or holds a NUL byte", where=str(base))
    try:
        path = (base / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # link loops, names that are too long
        raise _unreadable(base / name[:200], error) from None
    if Path(name).is_absolute() or not path.is_relative_to(base):
        raise IsthmusError(
            f"the name {name[:200]!r} leads outside its folder",
            where=str(base),
            why="a file may only refer to files beside or below it",
        )
    return path
