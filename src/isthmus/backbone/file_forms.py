"""Layer 2: why a file of weights cannot be read: empty, cut off, damaged, or of another form.

Libraries answer a wrong file in words of their own ("Unsupported operand 72"). What a person can
act on stands in the first bytes, which are looked at only once a library has given up.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from isthmus.errors import BackboneError

# what it is called -> the ending that its files have
FORMS = {
    "safetensors file": ".safetensors",
    "torch file": ".pt",
    ".keras archive": ".keras",
    "HDF5 file": ".h5",
}
_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80\x02"
_AGAIN = "Copy or download it again"


def form_of(path: Path) -> str:
    """What a file is by its content: one of `FORMS`, ``"zip archive"``, ``"text"``, ... or ``""``.

    A zip archive whose directory, at its end, is missing is told by its first entry.
    """
    with open(path, "rb") as handle:
        head = handle.read(4096)
    if head.startswith(_HDF5):
        return "HDF5 file"
    if head.startswith(_ZIP):
        return _archive(path, head)
    if head.startswith(_PICKLE):
        return "torch file"
    if re.match(rb".{6}\0\0\{\s*\"", head, re.DOTALL):
        return "safetensors file"
    if head.startswith(b"\x93NUMPY"):
        return "NumPy array"
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return ""
    return "text" if head and not re.search(r"[\0-\x08\x0e-\x1f]", text) else ""


def _archive(path: Path, head: bytes) -> str:
    whole = zipfile.is_zipfile(path)
    names = []
    if whole:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    listed = "\n".join(names).encode() if whole else head
    if re.search(rb"(^|/)data\.pkl", listed, re.MULTILINE):
        return "torch file"
    if re.search(rb"metadata\.json|config\.json|model\.weights\.h5", listed):
        return ".keras archive"
    return "NumPy archive" if b".npy" in listed else "zip archive"


def _missing_end(path: Path, form: str, said: str) -> str:
    """How much of a file is there, where its end is not; empty where that is not its fault."""
    size = path.stat().st_size
    if form in ("torch file", ".keras archive"):
        with open(path, "rb") as handle:
            packed = handle.read(4) == _ZIP
        if packed and not zipfile.is_zipfile(path):
            return f"the list of its content is missing after {size} bytes"
        return f"it ends after {size} bytes" if "unexpected EOF" in said else ""
    if form == "HDF5 file":
        found = re.search(r"stored_eof = (\d+)", said)
        return f"{size} of {found[1]} bytes are there" if found else ""
    with open(path, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        try:
            entries = json.loads(handle.read(length))
            ends = [entry["data_offsets"][1] for name, entry in entries.items() if name[:2] != "__"]
            whole = 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            whole = 8 + length
    return f"{size} of {whole} bytes are there" if whole > size else ""


def unreadable(path: Path, wanted: str, error: BaseException | None = None) -> BackboneError:
    """The refusal of a file that a library could not read.

    Parameters
    ----------
    path : Path
    wanted : str
        A key of `FORMS`: what it was taken for.
    error : Exception, optional
        What the library said.

    Returns
    -------
    BackboneError
        To be raised by the caller.
    """
    said = "" if error is None else " ".join(str(error).split())
    found = form_of(path)
    what, why, remedy = f"the {wanted} is damaged", said[:160], _AGAIN
    if not path.stat().st_size:
        what, why = "the file is empty", f"{_a(wanted)} was expected"
    elif found in (wanted, "zip archive") and (gap := _missing_end(path, wanted, said)):
        what, why = f"the {wanted} is cut off", gap
    elif found in FORMS and found != wanted:
        what, why = f"not {_a(wanted)}", f"by its content it is {_a(found)}"
        remedy = f"Give it the ending {FORMS[found]}, if it is the right file"
    elif found != wanted:
        what = f"not {_a(wanted)}"
        why = f"by its content it is {_a(found)}" if found else "its first bytes tell no known form"
        remedy = f"{_AGAIN}, or give another: {', '.join(FORMS.values())}"
    return BackboneError(what, where=str(path), why=why, remedy=remedy)


def _a(form: str) -> str:
    return form if form == "text" else f"an {form}" if form[0] == "H" else f"a {form}"
