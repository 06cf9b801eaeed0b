"""Layer 7: a grey picture as PNG bytes, without an imaging library."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence


def grey_png(rows: Sequence[Sequence[int]]) -> bytes:
    """PNG of 8-bit grey values 0..255, first row on top."""
    height, width = len(rows), len(rows[0])
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
