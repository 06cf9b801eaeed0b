"""Layer 7: `manifest.json` of a saved model: one way to write it, one way to read it.

The manifest names the digest of every other file of the model and of itself (``digest``, over the
text without that entry). A file that is not byte for byte what this module would write for its
content is refused, so no flipped byte passes, not even one in a space.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from pathlib import Path
from typing import Any, get_args

from isthmus import __version__, iofs
from isthmus.errors import BundleError, IsthmusError, near_path
from isthmus.types import Modality, Task

SCHEMA = 1
KIND = "isthmus model"
MANIFEST = "manifest.json"
TENSORS = "model.safetensors"
MAX_MANIFEST = 64 << 20
_SAFE_NAME = re.compile(r"(?:(?:examples|network)/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_HEX = re.compile(r"[0-9a-f]{64}")
# Harmless dtypes: a "<U1000000000" in a state would ask for gigabytes.
_DTYPE = re.compile(r"object|str|[<>|=]?(b1|[iuf][1248]|[US]\d{1,4}|O)")
# The libraries that a prediction passes through, by modality: recorded, and compared by `verify`.
_COMMON = ("numpy", "pandas", "safetensors", "scikit-learn", "scipy")
_LIBRARIES: dict[str, tuple[str, ...]] = {
    "image": ("onnxruntime", "pillow", "timm", "torch", "torchvision", "transformers", "keras"),
    "text": ("onnxruntime", "tokenizers", "torch", "transformers", "keras"),
    "audio": ("onnxruntime", "soundfile", "soxr", "torch", "transformers"),
    "table": ("polars", "pyarrow", "skrub"),
    "features": (),
}
# entry -> type; everything else is refused, so that a reader never meets a surprise
_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "kind": str,
    "isthmus": str,
    "libraries": dict,
    "task": str,
    "classes": list,
    "backbone": dict,
    "model": dict,
    "input": dict,
    "files": dict,
    "examples": (dict, type(None)),
    "extra": dict,
    "digest": str,
}


def library_versions(modality: str) -> dict[str, str]:
    """Versions of Python and of the installed libraries that a prediction passes through."""
    found = {"python": platform.python_version(), "isthmus": __version__}
    for name in sorted({*_COMMON, *_LIBRARIES.get(modality, ())}):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def render(value: dict[str, Any]) -> bytes:
    """The one byte string of a manifest."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def seal(value: dict[str, Any]) -> bytes:
    """Bytes of the manifest with its own digest in it."""
    body = {name: entry for name, entry in value.items() if name != "digest"}
    return render(body | {"digest": iofs.sha256_bytes(render(body))})


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The checked manifest of a saved model.

    Raises
    ------
    BundleError
        If there is none, a byte of it differs, it has another schema version, or an entry is
        missing, of the wrong kind, or names a file outside the folder.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        inside = "is not there" if not folder.exists() else f"holds no {MANIFEST}"
        raise BundleError(
            "not a saved model",
            where=str(folder),
            why=f"the folder {inside}" if not folder.is_file() else "it is a file, not a folder",
            remedy=("" if folder.exists() else near_path(folder))
            + "Give the folder that `isthmus transfer --out DIR` wrote",
        )
    try:
        raw = iofs.read_bytes(path, limit=MAX_MANIFEST)
        value = iofs.parse_json(raw)
    except (IsthmusError, ValueError, RecursionError) as error:
        why = error.why if isinstance(error, IsthmusError) else str(error)[:200]
        raise damaged(path, f"not readable: {why}") from None
    if not isinstance(value, dict):
        raise damaged(path, "not a JSON object")
    if value.get("kind") != KIND or type(value.get("schema")) is not int:
        raise damaged(path, "not the manifest of a saved model")
    if value["schema"] != SCHEMA:
        raise BundleError(
            f"the saved model has schema version {value['schema']}",
            where=str(path),
            why=f"this version of isthmus reads version {SCHEMA}",
            remedy="Use the version of isthmus that wrote it, or train it anew",
        )
    try:
        whole = seal(value) == raw
    except (ValueError, RecursionError):  # lone surrogates, depth
        whole = False
    if not whole:
        raise damaged(path, "its text does not agree with its own digest")
    _check_entries(value, path)
    return value


def damaged(path: Path | str, why: str) -> BundleError:
    """The refusal of one file of a saved model."""
    return BundleError(
        "the saved model is damaged or was altered",
        where=str(path),
        why=why,
        remedy="Restore the folder from a copy, or train the model anew",
    )


def _check_entries(value: dict[str, Any], path: Path) -> None:
    if set(value) != set(_ENTRIES):
        odd = sorted(set(value) ^ set(_ENTRIES))
        raise damaged(path, f"entries missing or unknown: {', '.join(odd)[:200]}")
    for name, kind in _ENTRIES.items():
        if not isinstance(value[name], kind):
            raise damaged(path, f"entry {name!r} is of the wrong kind")
    if value["task"] not in get_args(Task):
        raise damaged(path, f"unknown task {value['task']!r:.50}")
    if value["input"].get("modality") not in get_args(Modality):
        raise damaged(path, "unknown modality")
    classes = value["classes"]
    if not all(isinstance(name, str) and name for name in classes):
        raise damaged(path, "a class name is not text")
    if len(set(classes)) != len(classes) or bool(classes) != (value["task"] != "regression"):
        raise damaged(path, "class names repeat, or do not fit the task")
    backbone = value["backbone"]
    for name, kind in (("fingerprint", str), ("reference", dict), ("num_features", int)):
        if type(backbone.get(name)) is not kind:
            raise damaged(path, f"backbone {name} is missing or of the wrong kind")
    if not 0 < backbone["num_features"] < 1 << 24:
        raise damaged(path, "an absurd number of features")
    if not _plain_dtypes([value["model"], backbone]):
        raise damaged(path, "a dtype that no model has")
    _check_files(value, path)


def _plain_dtypes(value: Any) -> bool:
    """Whether every entry called ``...dtype`` below `value` is a small one."""
    todo = [value]
    while todo:
        at = todo.pop()
        if isinstance(at, dict):
            for name, entry in at.items():
                if name.endswith("_dtype") and not _DTYPE.fullmatch(str(entry)):
                    return False
            todo.extend(at.values())
        elif isinstance(at, list):
            todo.extend(at)
    return True


def _check_files(value: dict[str, Any], path: Path) -> None:
    files = value["files"]
    for name, entry in files.items():
        if not _SAFE_NAME.fullmatch(name) or name == MANIFEST:
            raise damaged(path, f"the file name {name!r:.100} leads elsewhere or is not allowed")
        fine = (
            isinstance(entry, dict)
            and set(entry) == {"bytes", "sha256"}
            and type(entry["bytes"]) is int
            and entry["bytes"] >= 0
            and isinstance(entry["sha256"], str)
            and _HEX.fullmatch(entry["sha256"])
        )
        if not fine:
            raise damaged(path, f"no size and digest for {name!r}")
    if TENSORS not in files:
        raise damaged(path, f"it does not name {TENSORS}")
    examples = value["examples"]
    if examples is not None:
        listed = examples.get("files")
        if not isinstance(listed, list) or not all(
            isinstance(name, str) and name in files for name in listed
        ):
            raise damaged(path, "its examples name files that it does not list")


def check_file(folder: Path, name: str, entry: dict[str, Any]) -> bytes:
    """Bytes of a file of the model, if they are the recorded ones.

    Raises
    ------
    BundleError
        If it is missing, a link, of another size, or its digest differs.
    """
    path = folder / name
    if path.is_symlink() or path.parent.is_symlink():
        raise damaged(path, "it is a link")
    try:
        iofs.open_inside(folder, name)
        if path.stat().st_size != entry["bytes"]:  # before reading what may be huge
            raise damaged(path, f"{path.stat().st_size} bytes instead of {entry['bytes']}")
        raw = iofs.read_bytes(path)
    except BundleError:
        raise
    except (IsthmusError, OSError) as error:
        why = error.why or error.what if isinstance(error, IsthmusError) else error.strerror
        raise damaged(path, str(why)) from None
    if iofs.sha256_bytes(raw) != entry["sha256"]:
        raise damaged(path, "its bytes are not the ones that were recorded (SHA-256 differs)")
    return raw
