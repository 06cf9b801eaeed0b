"""Layer 2: raw items -> feature batches: decode ahead in threads, run the network in the caller.

Items are decoded in a fixed order by a bounded look-ahead and gathered by shape; the network is
always called with exactly `batch_size` of them (a last batch is filled up by repeating its items),
so that neither the number of threads nor the batch-mates can touch a result.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.backbone.base import Backbone
from isthmus.data.samples import Items
from isthmus.errors import BackboneError, DataError, is_out_of_memory
from isthmus.types import Array

log = logging.getLogger(__name__)

HASH_BLOCK = 64  # rows hashed by one task
WAITING_BYTES = 256 << 20  # decoded items of all shapes that may wait for batch-mates


@dataclass(frozen=True)
class Ready:
    """Rows whose features are there: (k,) positions and (k, d) float32."""

    rows: Array
    features: Array


@dataclass(frozen=True)
class Failed:
    """A row that cannot be decoded, and why."""

    row: int
    error: DataError


def worker_count(workers: int | None) -> int:
    """Threads for reading and decoding; default: the cores this process may use, 8 at most."""
    if workers is not None:
        return max(1, int(workers))
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return min(8, cores)


def past(deadline: float | None) -> bool:
    """Whether the `time.monotonic` value has gone by."""
    return deadline is not None and time.monotonic() >= deadline


def hash_items(
    items: Items,
    key_of: Callable[[Any], bytes],
    *,
    names: Sequence[str],
    workers: int,
    deadline: float | None = None,
) -> tuple[Array, Array, dict[int, DataError]]:
    """Keys of all items, read in parallel.

    Returns
    -------
    keys : ndarray of shape (n, 32), uint8
    known : ndarray of bool, shape (n,)
        False where the item could not be read, or the deadline came first.
    errors : dict of int to DataError
    """
    n = len(items)
    keys = np.zeros((n, 32), np.uint8)
    known = np.zeros(n, bool)
    errors: dict[int, DataError] = {}

    def work(start: int) -> None:
        if past(deadline):
            return
        for row in range(start, min(start + HASH_BLOCK, n)):
            try:
                keys[row] = np.frombuffer(key_of(items[row]), np.uint8)
                known[row] = True
            except DataError as error:
                errors[row] = error.with_traceback(None)
            except Exception as error:
                error.add_note(f"while reading {names[row]}")
                raise

    pool = ThreadPoolExecutor(workers, thread_name_prefix="isthmus-hash")
    try:
        for _ in pool.map(work, range(0, n, HASH_BLOCK)):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return keys, known, errors


def compute(
    backbone: Backbone,
    items: Items,
    rows: Array,
    *,
    names: Sequence[str],
    workers: int,
    deadline: float | None = None,
    check: Callable[[int, Any], None] | None = None,
) -> Iterator[Ready | Failed]:
    """Features of the given rows, batch by batch, as they become ready.

    Parameters
    ----------
    rows : ndarray of int
        Positions in `items`, in the order in which they are decoded.
    names : sequence of str
        Name of every item, for messages.
    deadline : float, optional
        `time.monotonic` value after which nothing new is begun.
    check : callable, optional
        ``check(row, raw)`` sees each raw item before it is decoded; it may raise DataError.

    Raises
    ------
    BackboneError
        If the network's output has another shape than it promises.
    Exception
        Whatever else decoding or the network raises, with a note that names the item.
    """
    size = max(1, int(backbone.batch_size))
    block = max(1, min(8, size // (2 * workers)))
    alone = bool(getattr(backbone, "one_by_one", False))
    if alone:
        block = 2  # a long last block would leave the other threads idle

    def decode(part: Array) -> list[Any]:
        done: list[Any] = []
        for row in part.tolist():
            try:
                raw = items[row]
                if check is not None:
                    check(row, raw)
                value = np.asarray(backbone.preprocess(raw))
            except DataError as error:
                # Its traceback holds this list and the features: a cycle that would keep both.
                done.append(error.with_traceback(None))
                continue
            except Exception as error:
                error.add_note(f"while decoding {names[row]}")
                raise
            done.append(_features(backbone, value[None], [names[row]]) if alone else value)
        return done

    pool = ThreadPoolExecutor(workers, thread_name_prefix="isthmus-decode")
    queue: deque[tuple[Array, Future[list[Any]]]] = deque()
    blocks = (rows[start : start + block] for start in range(0, len(rows), block))
    ahead = workers + -(-size // block) + 1  # a batch's worth beyond what is being decoded
    waiting = _Waiting(backbone, size, names)
    try:
        while True:
            while len(queue) < ahead and not past(deadline):
                part = next(blocks, None)
                if part is None:
                    break
                queue.append((part, pool.submit(decode, part)))
            if past(deadline) or not queue:
                break
            part, future = queue.popleft()
            if alone:
                yield from _gathered(part, future.result())
                continue
            for row, value in zip(part.tolist(), future.result()):
                if isinstance(value, DataError):
                    yield Failed(row, value)
                    continue
                ready = waiting.add(row, value)
                if ready is not None:
                    yield ready
        while not past(deadline) and (last := waiting.largest()) is not None:
            yield last
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Waiting:
    """Decoded items by shape, until a batch of one shape is full."""

    def __init__(self, backbone: Backbone, size: int, names: Sequence[str]) -> None:
        self.backbone, self.size, self.names = backbone, size, names
        self.groups: dict[tuple[Any, ...], tuple[list[int], list[Array]]] = {}
        self.bytes = 0

    def add(self, row: int, value: Array) -> Ready | None:
        rows, values = self.groups.setdefault((value.shape, value.dtype.str), ([], []))
        rows.append(row)
        values.append(value)
        self.bytes += value.nbytes
        if len(rows) == self.size:
            return self._run((value.shape, value.dtype.str))
        # Many different shapes: the fullest group goes early rather than all waiting in memory.
        return self.largest() if self.bytes > WAITING_BYTES else None

    def largest(self) -> Ready | None:
        """Run the fullest group, filled up; None if nothing waits."""
        if not self.groups:
            return None
        return self._run(max(self.groups, key=lambda shape: len(self.groups[shape][0])))

    def _run(self, shape: tuple[Any, ...]) -> Ready:
        rows, values = self.groups.pop(shape)
        k = len(rows)
        batch = np.empty((self.size, *values[0].shape), values[0].dtype)
        for place in range(self.size):
            batch[place] = values[place % k]
        self.bytes -= sum(value.nbytes for value in values)
        del values
        found = _features(self.backbone, batch, [self.names[row] for row in rows])
        return Ready(np.asarray(rows), found[:k])


def _features(backbone: Backbone, batch: Array, names: Sequence[str]) -> Array:
    """(n, d) float32 of one batch, its shape checked; errors name the items."""
    try:
        output = np.asarray(_within_memory(backbone, batch))
    except Exception as error:
        more = min(len(names), len(batch)) - 1
        others = f" and {more} more" if more else ""
        error.add_note(f"while computing features of {names[0]}{others}")
        raise
    expected = (len(batch), backbone.num_features)
    if output.shape != expected:
        raise BackboneError(
            f"the network returned an array of shape {output.shape}",
            where=backbone.name,
            why=f"{expected} was expected: (batch, num_features)",
            remedy="Choose a layer or a pooling that gives one row an item",
        )
    with np.errstate(over="ignore"):  # an overflow becomes infinity and is reported as such
        return output.astype(np.float32)


def _within_memory(backbone: Backbone, batch: Array) -> Array:
    """The network's output; where memory runs out, that of half the batch and then the other.

    Halves of halves, down to single items. Batch-mates never touch a result (see the module's
    text), so a small machine gives the features of a large one.
    """
    try:
        return backbone(batch)
    except Exception as error:
        half = len(batch) // 2
        if not half or not is_out_of_memory(error):
            raise
        log.warning(
            "%s: not enough memory for %d items at a time: going on with %d",
            backbone.name, len(batch), half,
        )  # fmt: skip
    # outside of the handler: the error's trace would keep the memory of the failed attempt
    parts = [_within_memory(backbone, batch[:half]), _within_memory(backbone, batch[half:])]
    return np.concatenate([np.asarray(part) for part in parts])


def _gathered(part: Array, values: list[Any]) -> Iterator[Ready | Failed]:
    """What one task of a `one_by_one` backbone made."""
    for row, value in zip(part.tolist(), values):
        if isinstance(value, DataError):
            yield Failed(row, value)
    fine = [i for i, value in enumerate(values) if not isinstance(value, DataError)]
    if fine:
        yield Ready(part[fine], np.concatenate([values[i] for i in fine]))
