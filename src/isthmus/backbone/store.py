"""Layer 2: the feature store: what was computed once is read from disk, or computed again.

``<root>/features/<fingerprint>/<sha256>.safetensors``: every writer adds shards of its own, a
reader takes what it finds. There is no index file that could be damaged and no lock: a shard is
complete when it appears, never changes, and disappears only after its rows are in a larger one.
A shard that is not what its name says is moved aside, reported, and its rows are computed again.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.backbone.base import Backbone
from isthmus.backbone.keys import KEY_BYTES, space_name
from isthmus.backbone.shard import (
    SUFFIX,
    DamagedShard,
    Shard,
    open_shard,
    verify_shard,
    write_error,
    write_shard,
)
from isthmus.errors import StoreError
from isthmus.types import Array

log = logging.getLogger(__name__)

CHUNK_BYTES = 16 << 20  # a chunk is written at this size, whatever its number of rows
COPY_BYTES = 32 << 20  # rows are copied in blocks of this size
SMALL_SHARD = 8 << 20  # compaction merges shards below this size ...
MANY_SHARDS = 32  # ... when there are so many of them
MERGED_BYTES = 32 << 20


def cache_root() -> Path:
    """Folder of everything that can be made again: features, converted networks.

    ``$ISTHMUS_CACHE``, else ``$XDG_CACHE_HOME/isthmus``, else ``~/.cache/isthmus``.
    """
    own = os.environ.get("ISTHMUS_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "isthmus"


@dataclass(frozen=True)
class Damage:
    """A shard that was not what its name says: where it was, why it was not used."""

    path: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        """Plain JSON form."""
        return {"path": self.path, "reason": self.reason}


@dataclass
class Fetched:
    """What the store knew.

    Parameters
    ----------
    found : ndarray of bool, shape (u,)
        Which of the wanted keys were there.
    shards : list of Path
        The shards that were read.
    origin : ndarray of int, shape (u,)
        Position in `shards` of the one that a row came from; -1: not found.
    damaged : list of Damage
        Shards that were moved aside.
    """

    found: Array
    origin: Array
    shards: list[Path] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)


class Store:
    """Features on disk, keyed by content.

    Parameters
    ----------
    root : path, optional
        Default `cache_root`. Made when the first row is written.
    chunk_rows : int, default=512
        A shard is written after so many rows (or 16 MB) ...
    chunk_seconds : float, default=5
        ... or after so many seconds: what a ``kill -9`` can cost.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        chunk_rows: int = 512,
        chunk_seconds: float = 5.0,
    ) -> None:
        self.root = Path(root) if root is not None else cache_root()
        self.chunk_rows = chunk_rows
        self.chunk_seconds = chunk_seconds

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def folder(self, backbone: Backbone) -> Path:
        """Folder of the backbone's shards."""
        return self.root / "features" / space_name(backbone.fingerprint)

    def fetch(self, backbone: Backbone, wanted: Array, out: Array, places: Array) -> Fetched:
        """Copy the rows that the store has into ``out[places]``.

        Parameters
        ----------
        wanted : ndarray of shape (u,), dtype S32
            Sorted, distinct keys (`keys.as_words`).
        out : ndarray of shape (n, d), float32
            Written in place.
        places : ndarray of int, shape (u,)
            Row of `out` for each wanted key.

        Returns
        -------
        Fetched
            Every shard that gave a row was hashed in full before.
        """
        got = Fetched(np.zeros(len(wanted), dtype=bool), np.full(len(wanted), -1))
        folder = self.folder(backbone)
        seen: set[Path] = set()
        # A shard may be merged away between listing and opening; its rows are then in a new one.
        for _ in range(8):
            vanished = False
            for path in shard_paths(folder):
                if path in seen:
                    continue
                if not len(wanted) or got.found.all():
                    return got
                seen.add(path)
                try:
                    self._take(path, backbone, wanted, out, places, got)
                except FileNotFoundError:
                    vanished = True
                except (DamagedShard, OSError) as error:
                    got.damaged.append(self.set_aside(path, error))
            if not vanished:
                break
        return got

    def _take(
        self,
        path: Path,
        backbone: Backbone,
        wanted: Array,
        out: Array,
        places: Array,
        got: Fetched,
    ) -> None:
        if not len(_matching(open_shard(path, space=backbone.fingerprint), wanted, got.found)[0]):
            return  # nothing wanted in it: not worth hashing
        shard = verify_shard(path, space=backbone.fingerprint)
        rows, slots = _matching(shard, wanted, got.found)
        if shard.features.shape[1] != out.shape[1]:
            raise DamagedShard(f"{shard.features.shape[1]} features a row, expected {out.shape[1]}")
        copy_rows(shard.features, rows, out, places[slots])
        got.found[slots] = True
        got.origin[slots] = len(got.shards)
        got.shards.append(path)

    def set_aside(self, path: Path, error: Exception) -> Damage:
        """Move a damaged shard out of the way and say so."""
        reason = str(error)
        try:
            moved = iofs.set_aside(path, self.root / "damaged")
        except OSError as failure:
            moved = None
            reason += f"; it could not be moved aside: {failure.strerror}"
        log.warning(
            "%s is damaged and was not used (%s)%s; its rows are computed again",
            path,
            reason,
            f", moved to {moved}" if moved else "",
        )
        return Damage(str(path), reason)

    def writer(self, backbone: Backbone) -> ChunkWriter:
        """Context manager that collects rows and writes them chunk by chunk."""
        return ChunkWriter(self, backbone)

    def compact(self, backbone: Backbone) -> int:
        """Merge small shards into larger ones if there are many; return how many were merged.

        Safe beside readers and other writers: a merged shard is on the disk before the ones it
        replaces are deleted, and a reader that has one of these open keeps it.

        Raises
        ------
        StoreError
            If the disk is full. Nothing was deleted then.
        """
        folder = self.folder(backbone)
        small = []
        for path in shard_paths(folder):
            try:
                if path.stat().st_size < SMALL_SHARD:
                    small.append(path)
            except FileNotFoundError:
                continue
        if len(small) < MANY_SHARDS:
            return 0
        merged = 0
        batch: list[Shard] = []
        for path in small:
            try:
                batch.append(verify_shard(path, space=backbone.fingerprint))
            except FileNotFoundError:
                continue
            except (DamagedShard, OSError) as error:
                self.set_aside(path, error)
            # The map's file handle is held too: far below the usual limit of 1,024.
            if len(batch) >= 256 or sum(s.features.nbytes for s in batch) >= MERGED_BYTES:
                merged += self._merge(folder, batch, backbone)
                batch = []
        return merged + (self._merge(folder, batch, backbone) if len(batch) > 1 else 0)

    def _merge(self, folder: Path, shards: list[Shard], backbone: Backbone) -> int:
        shards = [s for s in shards if s.features.shape[1] == shards[0].features.shape[1]]
        keys, first = np.unique(np.concatenate([s.keys for s in shards]), return_index=True)
        features = np.concatenate([s.features for s in shards])[first]
        raw = keys.view(np.uint8).reshape(-1, KEY_BYTES)
        path = write_shard(
            folder, raw, features, space=backbone.fingerprint, backbone=backbone.name
        )
        iofs.remove(s.path for s in shards if s.path != path)
        return len(shards)

    def scratch(self, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
        """A float32 array on the disk for results that memory should not hold.

        Raises
        ------
        StoreError
            If neither the store's disk nor the temporary folder has the space.
        """
        return scratch(shape, self.root)


class ChunkWriter:
    """Collects finished rows; each full chunk becomes a shard. Leaving the block writes the rest.

    A store that cannot be written must not cost the caller the features: the error is logged once,
    kept in `error`, and nothing more is written.
    """

    def __init__(self, store: Store, backbone: Backbone) -> None:
        self.store, self.backbone = store, backbone
        self.error: StoreError | None = None
        width = backbone.num_features
        rows = int(np.clip(CHUNK_BYTES // (4 * max(1, width)), 1, store.chunk_rows))
        self._keys = np.empty((rows, KEY_BYTES), np.uint8)
        self._features = np.empty((rows, width), np.float32)
        self._filled = 0
        self._last = time.monotonic()

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()

    def add(self, keys: Array, features: Array) -> None:
        """Rows to keep: (k, 32) uint8 and (k, d) float32; both are copied."""
        start = 0
        while start < len(keys):
            k = min(len(keys) - start, len(self._keys) - self._filled)
            self._keys[self._filled : self._filled + k] = keys[start : start + k]
            self._features[self._filled : self._filled + k] = features[start : start + k]
            self._filled += k
            start += k
            if self._filled == len(self._keys):
                self.flush()
        if time.monotonic() - self._last >= self.store.chunk_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        k, self._filled, self._last = self._filled, 0, time.monotonic()
        if not k or self.error is not None:
            return
        try:
            write_shard(
                self.store.folder(self.backbone),
                self._keys[:k],
                self._features[:k],
                space=self.backbone.fingerprint,
                backbone=self.backbone.name,
            )
        except StoreError as error:
            log.error("%s. The features are returned, but a next run computes them again", error)
            self.error = error


def scratch(shape: tuple[int, ...], root: Path | None) -> np.memmap[Any, Any]:
    """See `Store.scratch`; without a store the system's temporary folder is used."""
    import tempfile

    temporary = Path(tempfile.gettempdir())
    folders = [temporary] if root is None else [root / "scratch", temporary]
    refusal: StoreError | None = None
    for folder in folders:
        try:
            if folder.is_dir():
                iofs.remove(iofs.stale_parts(folder) if folder != temporary else ())
            return iofs.scratch_array(folder, shape)
        except OSError as error:
            refusal = refusal or write_error(error, folder)
    assert refusal is not None
    raise refusal


def shard_paths(folder: Path) -> list[Path]:
    """Shards of a folder in the order of their names; none where the folder does not exist."""
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for path in paths if path.suffix == SUFFIX and not path.name.startswith(".")]


def copy_rows(source: Array, rows: Array, out: Array, places: Array) -> None:
    """``out[places] = source[rows]`` in blocks, so that little memory is needed."""
    block = max(1, COPY_BYTES // (4 * max(1, source.shape[1])))
    for start in range(0, len(rows), block):
        stop = start + block
        out[places[start:stop]] = source[rows[start:stop]]


def _matching(shard: Shard, wanted: Array, found: Array) -> tuple[Array, Array]:
    """(rows of the shard, positions in `wanted`) of the keys still looked for."""
    slots = np.searchsorted(wanted, shard.keys)
    slots[slots == len(wanted)] = 0
    rows = np.flatnonzero((wanted[slots] == shard.keys) & ~found[slots])
    return rows, slots[rows]
