"""Layer 1: bytes -> text, with the encoding named and undecodable lines pointed out."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array

_BOMS = (  # the longer marks first: UTF-32-LE starts with the mark of UTF-16-LE
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = {
    b"PK\x03\x04": ("a zip archive or an Excel file", "Unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "Save the sheet as CSV"),
    b"\x1f\x8b": ("a gzip archive", "Unpack it first"),
    b"PAR1": ("a Parquet file", "Give it the suffix .parquet"),
    b"SQLite format 3": ("an SQLite database", "Export the table as CSV"),
    b"%PDF": ("a PDF", "Extract its text first"),
    b"\x80\x04": ("a Python pickle", "Pickles are never opened; save the data as CSV or .npz"),
    b"\x80\x05": ("a Python pickle", "Pickles are never opened; save the data as CSV or .npz"),
}
_CONTROL = bytes([*range(9), *range(14, 27), *range(28, 32)])  # tab to CR and ESC are text
_WIDE = ("utf-16", "utf-32", "utf_16", "utf_32")


@dataclass(frozen=True)
class Decoded:
    """A text file in memory.

    Parameters
    ----------
    data : bytes
        The content as UTF-8; bytes of undecodable lines are left as they were.
    encoding : str
        Python's name of the encoding that was used.
    why : str
        How it was found.
    bad_lines : ndarray of int64
        0-based physical lines that cannot be decoded or hold a NUL byte.
    """

    data: bytes
    encoding: str
    why: str
    bad_lines: Array


def decode(raw: bytes, encoding: str | None = None, *, where: str = "") -> Decoded:
    """Decode a text file: a byte-order mark wins, then UTF-8, then cp1252, then latin-1.

    UTF-8 is kept, and its broken lines are reported, where more lines hold valid non-ASCII UTF-8
    than broken bytes; otherwise the file is taken for cp1252 (Windows' western code page, a
    superset of what latin-1 texts use), and for latin-1 where cp1252 has no such character.

    Parameters
    ----------
    raw : bytes
        Content of the file.
    encoding : str, optional
        Any codec that Python knows; overrides the guess.

    Raises
    ------
    DataError
        If the content is not text at all (archives, databases, pickles, binary files).
    UsageError
        If the encoding has an unknown name.
    """
    for magic, (kind, remedy) in _MAGIC.items():
        if raw.startswith(magic):
            raise DataError("the file is not text", where=where, why=f"it is {kind}", remedy=remedy)
    if encoding is not None:
        return _given(raw, encoding, where)
    for mark, codec in _BOMS:
        if raw.startswith(mark):
            return _given(raw, codec, where, why="byte-order mark")
    wide = _looks_wide(raw)
    if wide:
        return _given(raw, wide, where, why="every second byte is zero")
    _refuse_binary(raw, where)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return Decoded(raw, "utf-8", "all bytes are valid UTF-8", _nul_lines(raw))
    lines = raw.split(b"\n")
    broken, valid = [], 0
    for number, line in enumerate(lines):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            valid += 1
        except UnicodeDecodeError:
            broken.append(number)
    if valid > len(broken):
        why = f"{valid:,} lines hold valid UTF-8, {len(broken):,} do not"
        bad = np.union1d(np.array(broken, dtype=np.int64), _nul_lines(raw))
        return Decoded(raw, "utf-8", why, bad)
    codec = "cp1252"
    why = f"not UTF-8 ({len(broken):,} lines); western European fallback"
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        codec, text = "latin-1", raw.decode("latin-1")
    return Decoded(text.encode(), codec, why, _nul_lines(raw))


def _given(raw: bytes, encoding: str, where: str, *, why: str = "given") -> Decoded:
    """Decode with a known codec; lines that do not fit it are reported, not replaced."""
    try:
        canonical = codecs.lookup(encoding).name
        "".encode(canonical)
    except (LookupError, ValueError):
        raise UsageError(
            f"unknown encoding {encoding!r}",
            where="--encoding",
            remedy="Use one of Python's names, e.g. utf-8, utf-16, cp1252, latin-1, gbk",
        ) from None
    try:
        text = raw.decode(encoding)
        data = text.encode("utf-8")
        return Decoded(data, encoding, why, _nul_lines(data))
    except UnicodeDecodeError as error:
        first = error
    except UnicodeEncodeError:  # a codec that yields lone surrogates: not a text encoding
        raise UsageError(f"{encoding!r} is not a text encoding", where="--encoding") from None
    if encoding.lower().startswith(_WIDE):
        data = raw.decode(encoding, "replace").encode("utf-8", "replace")
        bad = [i for i, line in enumerate(data.split(b"\n")) if "�".encode() in line]
    else:
        pieces, bad = [], []
        for number, line in enumerate(raw.split(b"\n")):
            try:
                pieces.append(line.decode(encoding).encode())
            except UnicodeDecodeError:
                pieces.append(line)
                bad.append(number)
        data = b"\n".join(pieces)
    if len(bad) == data.count(b"\n") + 1:
        raise DataError(
            f"the file cannot be decoded as {encoding}",
            where=where,
            why=str(first),
            remedy="Name its encoding with --encoding",
        )
    return Decoded(data, encoding, why, np.union1d(np.array(bad, dtype=np.int64), _nul_lines(data)))


def _looks_wide(raw: bytes) -> str | None:
    """UTF-16 without a mark: in western text every second byte is zero."""
    head = np.frombuffer(raw[:4096], dtype=np.uint8)
    head = head[: len(head) // 2 * 2]
    if len(head) < 8 or len(raw) % 2:
        return None
    even, odd = float(np.mean(head[::2] == 0)), float(np.mean(head[1::2] == 0))
    if odd > 0.6 and even < 0.05:
        return "utf-16-le"
    if even > 0.6 and odd < 0.05:
        return "utf-16-be"
    return None


def _refuse_binary(raw: bytes, where: str) -> None:
    head = raw[:65536]
    if len(head) - len(head.translate(None, _CONTROL)) > 0.01 * len(head):
        raise DataError(
            "the file is not text",
            where=where,
            why="it holds many NUL and control bytes",
            remedy="Give a CSV, TSV, JSONL or Parquet file, or name the --encoding",
        )


def _nul_lines(data: bytes) -> Array:
    """0-based lines that hold a NUL byte: no text holds one, and parsers disagree about it."""
    if b"\0" not in data:
        return np.empty(0, dtype=np.int64)
    buffer = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(buffer == 10)
    return np.unique(np.searchsorted(ends, np.flatnonzero(buffer == 0)))
