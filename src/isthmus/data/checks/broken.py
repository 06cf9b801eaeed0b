"""Layer 1: ISX010: files that end too early: the last bytes raise the doubt, decoding decides."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.data.checks.finding import Finding, Severity
from isthmus.data.checks.view import RawView
from isthmus.data.samples import FileItems
from isthmus.errors import IsthmusError

MAX_FILES = 20_000
_TAIL = 4096


def cut_off(head: bytes, tail: bytes, size: int) -> str:
    """Why a file is not whole; empty where it seems to be, or the kind cannot be told."""
    if not size:
        return "it is empty"
    if head.startswith(b"\xff\xd8\xff"):
        return "" if b"\xff\xd9" in tail else "no end marker of a JPEG"
    if head.startswith(b"\x89PNG"):
        return "" if b"IEND" in tail else "no end marker of a PNG"
    if head.startswith(b"RIFF") and len(head) >= 8:
        said = int.from_bytes(head[4:8], "little")
        if said < 0x7FFF_F000 and said + 8 > size + 1:
            return f"its header promises {said + 8} bytes, {size} are there"
    return ""


def _fails(modality: str, items: FileItems, row: int) -> bool:
    """Some writers leave the end marker out: only what cannot be decoded is broken."""
    try:
        if modality == "image":
            from isthmus.data.images import decode as picture

            picture(items[row])
        else:
            from isthmus.data.audio import decode as recording

            recording(items[row], rate=16_000)
    except IsthmusError:
        return True
    return False


def find(view: RawView) -> Iterable[Finding]:
    """Incomplete files, and whether they follow a class."""
    if view.modality not in ("image", "audio"):
        return
    for role, part in view.parts():
        if not isinstance(part.items, FileItems):
            continue
        bad = []
        for row, name in enumerate(part.items.names[:MAX_FILES]):
            try:
                with open(part.items.root / name, "rb") as handle:
                    head = handle.read(16)
                    size = handle.seek(0, 2)
                    handle.seek(max(0, size - _TAIL))
                    why = cut_off(head, handle.read(), size)
            except OSError as error:
                why = error.strerror or str(error)
            if why and _fails(view.modality, part.items, row):
                bad.append((row, why))
        if not bad:
            continue
        seen = min(len(part), MAX_FILES)
        severity: Severity = (
            "error" if len(bad) > view.max_bad * seen and len(bad) > 1 else "warning"
        )
        labels = view.names(part)
        classes = set() if labels is None else {str(labels[row]) for row, _ in bad}
        following = len(classes) == 1 and len(bad) >= 3
        yield Finding(
            "ISX010",
            severity,
            f"{len(bad)} of {seen} {role} files are not whole"
            + (f", all of class {classes.pop()!r}" if following else ""),
            f"first: {part.ids[bad[0][0]]}: {bad[0][1]}",
            where=part.origin,
            remedy="Restore them from their source; --max-bad says how many may be left out",
            rows=tuple(part.ids[row] for row, _ in bad),
            figures={"bad": len(bad), "seen": seen},
        )
