"""Layer 2: looking after the cache folder: what is in it, is it intact, what can go."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isthmus import iofs
from isthmus.backbone.shard import DamagedShard, open_shard, verify_shard
from isthmus.backbone.store import Damage, cache_root, shard_paths
from isthmus.errors import IsthmusError, StoreError, UsageError

_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_BYTES |= {letter: _BYTES[letter + "b"] for letter in "kmgt"}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Space:
    """The features of one backbone in the store.

    Parameters
    ----------
    fingerprint, backbone : str
        Folder name; the backbone's name as recorded (empty if no shard can be read).
    shards, rows, features, bytes : int
        Files, stored rows (a row in two shards counts twice), width of a row, size.
    """

    fingerprint: str
    backbone: str
    shards: int
    rows: int
    features: int
    bytes: int


def info(root: str | Path | None = None) -> dict[str, Any]:
    """What the cache holds, read from the headers only; JSON-ready.

    Returns
    -------
    dict
        ``root``, ``spaces`` (list of `Space` as dict), ``networks`` (converted ONNX files),
        ``damaged`` and ``leftover`` (files moved aside; files of killed processes), each with
        ``files`` and ``bytes``; and ``bytes``, the sum of all.
    """
    base = _root(root)
    spaces = [_space(folder) for folder in _folders(base / "features")]
    parts = {
        "networks": _files(base / "onnx"),
        "damaged": _files(base / "damaged"),
        "leftover": _leftover(base),
    }
    counted = {
        name: {"files": len(paths), "bytes": sum(map(_size, paths))}
        for name, paths in parts.items()
    }
    total = sum(space.bytes for space in spaces) + sum(c["bytes"] for c in counted.values())
    return {"root": str(base), "spaces": [asdict(s) for s in spaces], **counted, "bytes": total}


def verify(root: str | Path | None = None) -> tuple[int, list[Damage]]:
    """Hash every file of the store and every converted network; change nothing.

    Returns
    -------
    int
        Files that were checked.
    list of Damage
        Those that are not what their name or record says.
    """
    base = _root(root)
    checked = 0
    damaged: list[Damage] = []
    for folder in _folders(base / "features"):
        for path in shard_paths(folder):
            try:
                shard = verify_shard(path, fresh=True)
                found = shard.metadata["space"]
                if folder.name not in (found, iofs.sha256_bytes(found.encode())):
                    raise DamagedShard(f"it belongs to another backbone ({found[:12]}...)")
            except FileNotFoundError:  # merged or pruned by another process
                continue
            except (DamagedShard, OSError) as error:
                damaged.append(Damage(str(path), str(error)))
            checked += 1
    for path in sorted({p.with_suffix(".json") for p in _files(base / "onnx")}):
        checked += 1
        try:
            _check_network(path)
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            damaged.append(Damage(str(path), f"no valid record of the network: {error}"))
        except IsthmusError as error:
            damaged.append(Damage(error.where, error.why))
    return checked, damaged


def _check_network(path: Path) -> None:
    """The record of a converted network carries its own digest and that of the ONNX file."""
    record = iofs.read_json(path, limit=1 << 20)
    own = record.pop("self")
    if own != iofs.sha256_bytes(iofs.canonical_json(record)):
        raise IsthmusError("damaged", where=str(path), why="its content is not what was written")
    if "sha256" in record:  # absent where the network could not be converted
        iofs.check_digest(path.with_suffix(".onnx"), str(record["sha256"]))


def prune(
    root: str | Path | None = None,
    *,
    max_bytes: int | None = None,
    older_than: float | None = None,
    everything: bool = False,
    dry_run: bool = False,
) -> dict[str, int]:
    """Delete what is damaged or left over, and then by age, size, or all of it.

    Other processes may go on reading: a file that they have open stays theirs until they close it.

    Parameters
    ----------
    max_bytes : int, optional
        Delete what was not used for the longest time until no more than this remains.
    older_than : float, optional
        Seconds since the last use (or writing, where the file system does not record use).
    everything : bool, default=False
        All features and all converted networks.
    dry_run : bool, default=False
        Count only.

    Returns
    -------
    dict
        ``files`` and ``bytes`` that went, ``kept_bytes`` that remain.
    """
    if max_bytes is not None and max_bytes < 0:
        raise UsageError("the size to keep is negative", where="--max-size")
    base = _root(root)
    waste = [*_files(base / "damaged"), *_leftover(base)]
    kept = [p for folder in _folders(base / "features") for p in shard_paths(folder)]
    networks = _files(base / "onnx")
    kept += networks
    used = {path: _last_use(path) for path in kept}
    for path in networks:  # a network and its record go together
        used[path] = max(used.get(path.with_suffix(s), 0.0) for s in (".onnx", ".json"))
    # Oldest first; a network and its record are neighbours.
    kept.sort(key=lambda path: (used[path], path.with_suffix("").name))
    left = sum(map(_size, kept))
    now = time.time()
    for path in kept:
        old = older_than is not None and now - used[path] > older_than
        big = max_bytes is not None and left > max_bytes
        if everything or old or big:
            waste.append(path)
            left -= _size(path)
    result = {"files": len(waste), "bytes": sum(map(_size, waste)), "kept_bytes": left}
    if not dry_run:
        _delete(base, waste)
    return result


def _delete(base: Path, paths: Iterable[Path]) -> None:
    try:
        iofs.remove(paths)
        for folder in [*_folders(base / "features"), base / "damaged", base / "scratch"]:
            try:
                folder.rmdir()
            except OSError:  # not empty, or not there
                continue
    except OSError as error:
        raise StoreError(
            "the cache cannot be pruned",
            where=str(error.filename or base),
            why=error.strerror or str(error),
            remedy="Make the folder writable",
        ) from error


def parse_size(text: str) -> int:
    """Bytes of ``2GB``, ``500 MB``, ``1.5GiB`` or a plain number.

    >>> parse_size("2GB"), parse_size("1.5 kib"), parse_size("7")
    (2000000000, 1536, 7)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _BYTES:
        raise UsageError(f"{text!r} is not a size", remedy="Write for example 2GB or 500MB")
    return int(float(match[1]) * _BYTES[match[2].lower()])


def parse_age(text: str) -> float:
    """Seconds of ``30d``, ``12h``, ``2w``, ``45m`` or ``10s``.

    >>> parse_age("2d"), parse_age("1.5h")
    (172800.0, 5400.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text)
    if not match:
        raise UsageError(f"{text!r} is not an age", remedy="Write for example 30d, 12h or 2w")
    return float(match[1]) * _SECONDS[match[2]]


def _root(root: str | Path | None) -> Path:
    return Path(root) if root is not None else cache_root()


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [p for p in folder.rglob("*") if p.is_file() or p.is_symlink()]
    return sorted(p for p in found if not p.name.startswith("."))


def _leftover(base: Path) -> list[Path]:
    """Temporary files of processes that are gone, in the folders that are ours."""
    names = ("features", "onnx", "scratch")
    return [p for name in names if (base / name).is_dir() for p in iofs.stale_parts(base / name)]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _last_use(path: Path) -> float:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0.0
    return max(stat.st_atime, stat.st_mtime)


def _space(folder: Path) -> Space:
    shards = rows = width = size = 0
    name = ""
    for path in shard_paths(folder):
        shards += 1
        size += _size(path)
        try:
            shard = open_shard(path)
        except (DamagedShard, OSError):
            continue
        rows += len(shard.keys)
        width = shard.features.shape[1]
        name = name or shard.metadata.get("backbone", "")
    return Space(folder.name, name, shards, rows, width, size)
