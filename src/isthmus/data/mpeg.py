"""Layer 1: how many samples an MP3 holds, by walking its frame headers.

libsndfile estimates the length of an MP3 without a length header (Xing, Info, VBRI) from its first
frames, and then reads no further than that: a recording of variable bit rate would lose most of
its samples without a word. This count is what the estimate is checked against.
"""

from __future__ import annotations

# kbit/s of layer III by index (ISO 11172-3, 13818-3)
_FIRST = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_SECOND = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44_100, 48_000, 32_000)
_LENGTH_HEADERS = (b"Xing", b"Info", b"VBRI")


def samples_without_length(data: bytes) -> tuple[int, int] | None:
    """(samples per channel, samples per frame) of an MP3 that does not state its length.

    Parameters
    ----------
    data : bytes
        The file; a leading ID3v2 tag is skipped, anything behind the last frame is ignored.

    Returns
    -------
    tuple of int, or None
        None where a length header is there, or the stream is not plain layer III.
    """
    at = 0
    if data[:3] == b"ID3" and len(data) > 10:
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0)))
    count, per_frame = 0, 0
    while header := _frame(data, at):
        size, per_frame = header
        if not count and any(mark in data[at : at + 64] for mark in _LENGTH_HEADERS):
            return None
        count += 1
        at += size
    return (count * per_frame, per_frame) if count > 1 else None


def _frame(data: bytes, at: int) -> tuple[int, int] | None:
    """(bytes, samples per channel) of the frame whose header starts at `at`."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return None  # 11 sync bits, then layer III
    version = data[at + 1] >> 3 & 3  # 3 = MPEG 1, 2 = MPEG 2, 0 = MPEG 2.5
    bits, rate = data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    per_frame = 1152 if version == 3 else 576
    kilobits = (_FIRST if version == 3 else _SECOND)[bits]
    return per_frame // 8 * 1000 * kilobits // hertz + (data[at + 2] >> 1 & 1), per_frame
