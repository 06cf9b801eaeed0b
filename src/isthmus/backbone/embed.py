"""Layer 2: samples -> features. Hits come from the store, the rest is computed once and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.backbone.base import Backbone, FrameBackbone
from isthmus.backbone.keys import KeyMaker, as_words
from isthmus.backbone.pipeline import Failed, compute, hash_items, past, worker_count
from isthmus.backbone.store import ChunkWriter, Damage, Fetched, Store, copy_rows, scratch
from isthmus.data.samples import FrameItems, Problem, Samples
from isthmus.errors import BackboneError, DataError, StoreError, UsageError
from isthmus.types import Array

log = logging.getLogger(__name__)

IN_MEMORY = 256 << 20  # bytes of features above which the result lies on the disk
# Largest difference an audit allows, in units of the row's largest value: the parity that the
# engines of one backbone (ONNX Runtime, torch) are held to. Changed code or weights are far above.
AUDIT_TOLERANCE = 1e-4
MAX_AUDITED = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Embedded:
    """Features of a data set and the account of every row.

    ``len(rows) + len(problems) + unreached`` is the number of samples.

    Parameters
    ----------
    features : ndarray of shape (m, d), float32
        A memory map of a temporary file where it would be large.
    rows : ndarray of int, shape (m,)
        Their positions in the samples, increasing.
    problems : tuple of Problem
        Rows set aside, with the reason.
    hits : int
        Rows that came from the store.
    computed : int
        New items that went through the network; equal ones once.
    unreached : int
        Rows that the deadline cut off.
    audited : int
        Rows from the store that were computed again and found equal.
    damaged : tuple of Damage
        Store files that were found damaged, moved aside and replaced.
    store_error : StoreError or None
        Why the store could not be written; the features are complete nevertheless.
    notes : tuple of str
        What a table's encoder found odd: values unseen while fitting, missing or unreadable.
    """

    features: Array
    rows: Array
    problems: tuple[Problem, ...] = ()
    hits: int = 0
    computed: int = 0
    unreached: int = 0
    audited: int = 0
    damaged: tuple[Damage, ...] = ()
    store_error: StoreError | None = None
    notes: tuple[str, ...] = ()


def embed(
    backbone: Backbone | FrameBackbone,
    samples: Samples,
    *,
    store: Store | None = None,
    workers: int | None = None,
    deadline: float | None = None,
    progress: Progress | None = None,
    audit: float = 0.001,
    in_memory: int = IN_MEMORY,
) -> Embedded:
    """Features of all samples; a feature depends on its item and the backbone, on nothing else.

    Parameters
    ----------
    backbone : Backbone or FrameBackbone
        A frame backbone must be fitted; it takes the whole table at once and needs no store.
    samples : Samples
        Labels are not looked at, except to name those of rows that fail.
    store : Store, optional
        Where features are kept and found again; None: neither.
    workers : int, optional
        Threads that read and decode; default one a core. Never changes a result.
    deadline : float, optional
        `time.monotonic` value. Rows not reached by then are counted in `unreached`.
    progress : callable, optional
        ``progress(done, total)`` in rows.
    audit : float, default=0.001
        Share of the store's answers that are computed again and compared, chosen at random; two
        items at most.
    in_memory : int, default=256 MiB
        Larger results are a memory map of a temporary file.

    Returns
    -------
    Embedded

    Raises
    ------
    UsageError
        If the backbone takes another kind of input.
    StoreError
        If an audited row differs from the stored one, or there is no disk space for the result.
    BackboneError
        If the network does not return what it promises.

    Notes
    -----
    On an interrupt or any error the finished rows are written to the store before it propagates:
    the same call again goes on from there.
    """
    _check_kind(backbone, samples)
    if isinstance(samples.items, FrameItems):
        assert isinstance(backbone, FrameBackbone)
        return _embed_frame(backbone, samples, progress)
    assert isinstance(backbone, Backbone)
    if not getattr(backbone, "worth_storing", True):
        store = None  # computing it costs less than looking it up
    backbone = _with_width(backbone, samples)
    threads = worker_count(workers)
    keys, known, errors = hash_items(
        samples.items, KeyMaker(backbone), names=samples.ids, workers=threads, deadline=deadline
    )
    run = _Run(backbone, samples, store, keys, known, in_memory, progress)
    for row, error in errors.items():
        run.fail(row, error)
    run.read_store()
    run.compute(threads, deadline, audit)
    return run.result()


def _check_kind(backbone: Any, samples: Samples) -> None:
    table = isinstance(samples.items, FrameItems)
    if table == hasattr(backbone, "preprocess") or backbone.modality != samples.modality:
        raise UsageError(
            f"the backbone {backbone.name} takes {backbone.modality} input",
            where=samples.origin,
            why=f"the data are {samples.modality}",
            remedy="Choose another --backbone, or say --modality if the data were misread",
        )


def _with_width(backbone: Backbone, samples: Samples) -> Backbone:
    """Features that are features already have the width of the first row that is a vector."""
    if backbone.num_features or not hasattr(backbone, "fixed"):
        return backbone
    for row in range(len(samples)):
        item = np.asarray(samples.items[row])
        if item.ndim == 1 and item.size:
            fixed: Backbone = backbone.fixed(item.size)
            return fixed
    return backbone


def _embed_frame(backbone: FrameBackbone, samples: Samples, progress: Progress | None) -> Embedded:
    assert isinstance(samples.items, FrameItems)
    frame = samples.items.frame
    encode = getattr(backbone, "encode", None)
    found, notes = encode(frame) if encode is not None else (backbone(frame), ())
    features = np.asarray(found, dtype=np.float32)
    if features.shape != (len(samples), backbone.num_features):
        raise BackboneError(
            f"the encoder returned an array of shape {features.shape}",
            where=backbone.name,
            why=f"({len(samples)}, {backbone.num_features}) was expected",
        )
    finite = np.isfinite(features).all(axis=1)
    problems = tuple(_not_finite(samples, int(row)) for row in np.flatnonzero(~finite))
    rows = np.flatnonzero(finite)
    if progress is not None:
        progress(len(samples), len(samples))
    return Embedded(
        features if finite.all() else features[rows],
        rows,
        problems,
        computed=len(samples),
        notes=tuple(notes),
    )


class _Changed(DataError):
    """The file's bytes are not the ones that were hashed."""


@dataclass
class _Run:
    """One call of `embed`. Equal items share a slot; a slot's features go to its first row."""

    backbone: Backbone
    samples: Samples
    store: Store | None
    keys: Array
    known: Array
    in_memory: int
    progress: Progress | None
    problems: dict[int, Problem] = field(default_factory=dict)
    finished: int = 0
    computed: int = 0
    audited: int = 0
    store_error: StoreError | None = None

    def __post_init__(self) -> None:
        n, d = len(self.samples), int(self.backbone.num_features)
        large = n * d * 4 > self.in_memory
        root: Path | None = self.store.root if self.store is not None else None
        self.features: Array = scratch((n, d), root) if large else np.empty((n, d), np.float32)
        hashed = np.flatnonzero(self.known)
        self.wanted, first, slot = np.unique(
            as_words(self.keys[hashed]), return_index=True, return_inverse=True
        )
        self.first = hashed[first]  # first row of each slot
        self.slot = np.full(n, -1)  # slot of each row; -1: no key
        self.slot[hashed] = slot
        self.copies = np.bincount(slot, minlength=len(self.wanted))
        self.done = np.zeros(n, bool)  # by first row
        self.fetched = Fetched(np.zeros(len(self.wanted), bool), np.zeros(len(self.wanted), int))

    def read_store(self) -> None:
        if self.store is not None and len(self.wanted):
            self.fetched = self.store.fetch(self.backbone, self.wanted, self.features, self.first)
            self.done[self.first[self.fetched.found]] = True
        self.report(len(self.problems) + int(self.copies[self.fetched.found].sum()))

    def compute(self, workers: int, deadline: float | None, audit: float) -> None:
        """Everything that the store did not have, and a few rows that it had."""
        audited = {} if past(deadline) else self._choose_audited(audit)
        missing = np.sort(self.first[~self.fetched.found])
        rows = np.concatenate([np.array(list(audited), dtype=missing.dtype), missing])
        if not len(rows):
            return
        maker = KeyMaker(self.backbone)

        def unchanged(row: int, raw: Any) -> None:
            # The bytes that are decoded must be the ones that the key was made of.
            if isinstance(raw, bytes) and maker(raw) != self.keys[row].tobytes():
                raise _Changed(
                    "the file changed while it was being read",
                    remedy="Run again when nothing writes to it",
                )

        events = compute(
            self.backbone,
            self.samples.items,
            rows,
            names=self.samples.ids,
            workers=workers,
            deadline=deadline,
            check=unchanged,
        )
        writer = self.store.writer(self.backbone) if self.store is not None else None
        try:
            for event in events:
                if isinstance(event, Failed):
                    self._fail_slot(event.row, event.error, audited)
                else:
                    self._keep(event.rows, event.features, writer, audited)
        finally:
            events.close()  # type: ignore[attr-defined]
            if writer is not None:
                writer.flush()
                self.store_error = writer.error
        if self.store is not None and self.store_error is None and not past(deadline):
            try:
                self.store.compact(self.backbone)
            except StoreError as error:
                log.warning("small store files were not merged: %s", error)

    def _choose_audited(self, share: float) -> dict[int, Array]:
        """A random few of the hits: first row -> stored features."""
        hits = np.flatnonzero(self.fetched.found)
        # Fresh entropy on purpose: repeated runs should look at different rows.
        draw = np.random.default_rng()
        count = min(MAX_AUDITED, len(hits), int(draw.binomial(len(hits), min(1.0, share))))
        chosen = self.first[draw.choice(hits, count, replace=False)] if count else []
        return {int(row): self.features[row].copy() for row in chosen}

    def _keep(
        self, rows: Array, features: Array, writer: ChunkWriter | None, audited: dict[int, Array]
    ) -> None:
        again = np.array([int(row) in audited for row in rows])
        for row, found in zip(rows[again].tolist(), features[again]):
            self._compare(row, audited[row], found)
        rows, features = rows[~again], features[~again]
        self.computed += len(rows)
        finite = np.isfinite(features).all(axis=1)
        for row in rows[~finite].tolist():
            self._fail_slot(row, None, audited)
        rows, features = rows[finite], features[finite]
        self.features[rows] = features
        self.done[rows] = True
        if writer is not None:
            writer.add(self.keys[rows], features)
        self.report(int(self.copies[self.slot[rows]].sum()))

    def _compare(self, row: int, stored: Array, found: Array) -> None:
        scale = max(float(np.abs(stored).max(initial=0.0)), 1e-12)
        difference = float(np.abs(stored - found).max(initial=0.0)) / scale
        if difference <= AUDIT_TOLERANCE:  # false for NaN too
            self.audited += 1
            return
        origin = int(self.fetched.origin[self.slot[row]])
        folder = self.fetched.shards[origin].parent
        raise StoreError(
            f"the stored features of {self.samples.ids[row]} are not the ones the backbone gives",
            where=str(self.fetched.shards[origin]),
            why=f"they differ by {difference:.1e} of the largest value: another version of the "
            "code, the weights or a library wrote them under the same name",
            remedy=f"Delete the folder {folder} (or run `isthmus cache prune --all`) and run again",
        )

    def _fail_slot(self, row: int, error: DataError | None, audited: dict[int, Array]) -> None:
        if row in audited:
            if isinstance(error, _Changed):
                return  # nothing to compare with: the stored features are those of the old bytes
            # It was decoded once and cannot be now: the file changed, or the code did.
            self._compare(row, audited[row], np.full_like(audited[row], np.nan))
        before = len(self.problems)
        for copy in np.flatnonzero(self.slot == self.slot[row]).tolist():
            self.fail(copy, error)
        self.report(len(self.problems) - before)

    def fail(self, row: int, error: DataError | None) -> None:
        """Set a row aside; `error` None means that its features are not finite."""
        if error is None:
            self.problems[row] = _not_finite(self.samples, row)
            return
        reason = f"{error.what} ({error.why})" if error.why else error.what
        self.problems[row] = Problem(
            self.samples.ids[row], reason, error.remedy, _label(self.samples, row)
        )

    def report(self, rows: int) -> None:
        self.finished += rows
        if self.progress is not None:
            self.progress(self.finished, len(self.samples))

    def result(self) -> Embedded:
        """Fill in the copies, close the gaps of rows without features, and count."""
        has_key = np.flatnonzero(self.known)
        source = self.first[self.slot[has_key]]
        ready = self.done[source]
        rows, source = has_key[ready], source[ready]
        copies = rows != source
        copy_rows(self.features, source[copies], self.features, rows[copies])
        if len(rows) < len(self.samples):
            # Rows only move towards the front, so a block never overwrites one still needed.
            copy_rows(self.features, rows, self.features, np.arange(len(rows)))
        hits = int(self.copies[self.fetched.found].sum())
        return Embedded(
            self.features[: len(rows)],
            rows,
            tuple(self.problems[row] for row in sorted(self.problems)),
            hits,
            self.computed,
            len(self.samples) - len(rows) - len(self.problems),
            self.audited,
            tuple(self.fetched.damaged),
            self.store_error,
        )


def _label(samples: Samples, row: int) -> str | None:
    if samples.labels is None or samples.task != "classification":
        return None
    label = samples.labels[row]
    return None if label is None else str(label)


def _not_finite(samples: Samples, row: int) -> Problem:
    return Problem(
        samples.ids[row],
        "its features are NaN or infinite",
        "Look at the item: extreme or empty values; or choose another backbone",
        _label(samples, row),
    )
