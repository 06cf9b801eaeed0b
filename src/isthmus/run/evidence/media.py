"""Layer 8: small pictures, short clips and text snippets of the rows that a report shows."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from isthmus.data.samples import FrameItems
from isthmus.errors import IsthmusError
from isthmus.run.evidence.rows import PARTS, Kept, part_of
from isthmus.run.extract import Extracted
from isthmus.types import Array

logger = logging.getLogger(__name__)

BUDGET = 1_500_000  # bytes of media; base64 makes a third more of it
SIDE = 112  # pixels of the longer side
QUALITY = 58
CLIP_SECONDS, CLIP_RATE = 4.0, 16_000
SNIPPET = 220  # characters
CELL, MOST_COLUMNS = 24, 16
MOST_MEDIA = 1200


def texts(kept: Kept, features: Extracted) -> dict[str, Any]:
    """``text`` (a snippet a row) for texts, ``columns`` and ``values`` for tables; else nothing."""
    modality = features.target.samples.modality
    if modality == "text":
        return {"text": [_snippet(str(_item(kept, i, features))) for i in range(len(kept))]}
    if modality != "table":
        return {}
    frames = {}
    for code, name in enumerate(PARTS):
        part = part_of(features, name)
        if part is not None and isinstance(part.samples.items, FrameItems):
            frames[code] = part.samples.items.frame
    if not frames:
        return {}
    columns = [str(c) for c in next(iter(frames.values())).columns][:MOST_COLUMNS]
    # column by column: picking single rows out of a frame is slow
    values: list[list[str]] = [[] for _ in range(len(kept))]
    cells = {
        code: {str(c): frame[c].tolist() for c in frame.columns if str(c) in columns}
        for code, frame in frames.items()
    }
    for i in range(len(kept)):
        here = cells.get(kept.part[i], {})
        values[i] = [_cell(here[c][kept.row[i]]) if c in here else "" for c in columns]
    return {"columns": columns, "values": values}


def media(
    kept: Kept, features: Extracted, *, first: Iterable[int] = (), budget: int = BUDGET
) -> tuple[dict[str, Any] | None, Array]:
    """Encoded pictures or clips, the rows that matter most first, until the budget is used up.

    Returns
    -------
    dict or None
        ``type`` (MIME), ``rows`` and ``sizes`` (bytes); None for other modalities.
    ndarray of uint8
        The files one after the other.
    """
    modality = features.target.samples.modality
    if modality not in ("image", "audio"):
        return None, np.zeros(0, dtype=np.uint8)
    encode = _picture if modality == "image" else _clip
    rows: list[int] = []
    files: list[bytes] = []
    kind, used = "", 0
    for i in wanted_order(kept, list(first)):
        try:
            kind, raw = encode(_item(kept, i, features), kept.ids[i])
        except IsthmusError as error:  # it was read once; a picture less is no reason to fail
            logger.info("no excerpt of %s: %s", kept.ids[i], error)
            continue
        if used + len(raw) > budget or len(rows) >= MOST_MEDIA:
            break
        used += len(raw)
        rows.append(i)
        files.append(raw)
    blob = np.frombuffer(b"".join(files), dtype=np.uint8)
    return {"type": kind, "rows": rows, "sizes": [len(f) for f in files]}, blob


def wanted_order(kept: Kept, first: Sequence[int]) -> list[int]:
    """Explained rows and their neighbours, rows to label, errors, every confusion cell, the map."""
    wrong = sorted(
        (i for i in range(len(kept)) if kept.right[i] is False),
        key=lambda i: -(kept.confidence[i] or 0.0),
    )
    cells: dict[tuple[Any, Any], list[int]] = {}
    for i in range(len(kept)):
        if kept.scored[i] and kept.right[i] is not False:
            cells.setdefault((kept.truth[i], kept.predicted[i]), []).append(i)
    turns = [
        rows[k]
        for k in range(max(map(len, cells.values()), default=0))
        for rows in cells.values()
        if k < len(rows)
    ]
    labelled: dict[Any, list[int]] = {}
    for i in range(len(kept)):
        if kept.part[i] < 2:
            labelled.setdefault(kept.truth[i], []).append(i)
    known = [
        rows[k]
        for k in range(max(map(len, labelled.values()), default=0))
        for rows in labelled.values()
        if k < len(rows)
    ]
    half = len(turns) // 2
    order = [*first, *kept.ranked[:24], *wrong[:200], *turns[:200], *known[:200], *wrong[200:]]
    order += [*turns[200 : 200 + half], *known[200:], *turns[200 + half :], *range(len(kept))]
    return list(dict.fromkeys(order))


def _item(kept: Kept, i: int, features: Extracted) -> Any:
    part = part_of(features, PARTS[kept.part[i]])
    assert part is not None
    return part.samples.items[kept.row[i]]


def _snippet(text: str) -> str:
    text = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= SNIPPET else text[: SNIPPET - 1] + "…"


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def _picture(raw: Any, where: str) -> tuple[str, bytes]:
    from PIL import Image, features

    from isthmus.data.images import decode

    picture = Image.fromarray(decode(raw, where=where))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if features.check("webp"):
        picture.save(out, "WEBP", quality=QUALITY, method=4)
        return "image/webp", out.getvalue()
    picture.save(out, "JPEG", quality=QUALITY, optimize=True)
    return "image/jpeg", out.getvalue()


def _clip(raw: Any, where: str) -> tuple[str, bytes]:
    import soundfile

    from isthmus.data.audio import decode

    wave = decode(raw, rate=CLIP_RATE, where=where)[: int(CLIP_SECONDS * CLIP_RATE)]
    out = io.BytesIO()
    if "MP3" in soundfile.available_formats():
        soundfile.write(out, wave, CLIP_RATE, format="MP3")
        return "audio/mpeg", out.getvalue()
    soundfile.write(out, wave[::2], CLIP_RATE // 2, format="WAV", subtype="PCM_U8")
    return "audio/wav", out.getvalue()
