"""Layer 8: ISX025 and ISX026: every row once, and with its own features.

A few rows of each part are computed anew. Features that belong to another row mean that rows were
skipped, repeated or mixed up; features that belong to no row are stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from isthmus.backbone import embed
from isthmus.data.checks.finding import Finding
from isthmus.data.samples import FrameItems
from isthmus.run.checks.gap import relative_gap
from isthmus.run.checks.view import ModelView
from isthmus.run.extract import Part
from isthmus.types import Array

LATE = True  # needs features
LOOKED = 3
EQUAL = 1e-3  # of the largest value


def find(view: ModelView) -> Iterable[Finding]:
    """Positions, and the features of a few rows."""
    if view.features is None:
        return
    for role, part in view.parts():
        whole = len(part.X) == len(part.samples) == len(part.rows)
        if not whole or len(np.unique(part.rows)) != len(part.rows):
            yield _mixed(role, part, "positions repeat or do not match the rows", ())
            continue
        if not isinstance(part.samples.items, FrameItems):
            yield from _recomputed(view, role, part)


def _recomputed(view: ModelView, role: str, part: Part) -> Iterable[Finding]:
    assert view.features is not None
    backbone = view.features.backbone
    if not getattr(backbone, "worth_storing", True) and not view.custom:
        return
    rows = np.unique(np.linspace(0, len(part.X) - 1, LOOKED + 2).round().astype(int))[1:-1]
    if not len(rows):
        return
    fresh = embed(backbone, part.samples.take(rows), store=None)
    if len(fresh.rows) != len(rows):
        return
    X = np.asarray(part.X)
    wrong = [i for i, row in enumerate(rows) if relative_gap(fresh.features[i], X[row]) > EQUAL]
    if not wrong:
        return
    ids = tuple(part.samples.ids[int(rows[i])] for i in wrong)
    elsewhere = 0
    for i in wrong:
        gaps = np.abs(X - fresh.features[i]).max(axis=1)
        scale = max(float(np.abs(fresh.features[i]).max()), 1e-12)
        # its features are another row's, or another row has the ones it was given
        twin = np.abs(X - X[rows[i]]).max(axis=1) <= 1e-9 * scale
        elsewhere += bool(gaps.min() / scale <= EQUAL) or int(twin.sum()) > 1
    if elsewhere:
        yield _mixed(
            role, part, f"{elsewhere} of {len(rows)} rows have another row's features", ids
        )
        return
    worst = max(relative_gap(fresh.features[i], X[rows[i]]) for i in wrong)
    yield Finding(
        "ISX025",
        "error",
        f"{len(wrong)} of {len(rows)} {role} rows have features that the backbone does not give",
        f"computed anew they differ by {worst:.1e} of the largest value: code, weights or a "
        "library changed under the same name",
        where=str(backbone.name),
        remedy="Run `isthmus cache prune --all`, and give changed code another name or version",
        rows=ids,
        figures={"looked": len(rows), "wrong": len(wrong)},
    )


def _mixed(role: str, part: Part, evidence: str, rows: tuple[str, ...]) -> Finding:
    return Finding(
        "ISX026",
        "error",
        f"rows of the {role} were skipped, repeated or mixed up",
        evidence,
        where=part.samples.origin,
        remedy="Compute the features again without the interrupted run's files (--no-cache)",
        rows=rows,
    )


@dataclass
class Consumed:
    """Which rows an epoch has used: each exactly once, also across an interruption.

    Parameters
    ----------
    rows : int
        Rows of the training set.
    counts : ndarray of shape (rows,), optional
        As `state` gave it before an interruption.
    """

    rows: int
    counts: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if not len(self.counts):
            self.counts = np.zeros(self.rows, dtype=np.int64)

    def add(self, rows: Sequence[int] | Array) -> None:
        """Note a batch."""
        np.add.at(self.counts, np.asarray(rows), 1)

    def state(self) -> Array:
        """What a checkpoint must keep."""
        return self.counts.copy()

    def finish(self, where: str = "") -> Finding | None:
        """The account at the end of an epoch."""
        missed = np.flatnonzero(self.counts == 0)
        twice = np.flatnonzero(self.counts > 1)
        if not len(missed) and not len(twice):
            return None
        return Finding(
            "ISX026",
            "error",
            f"an epoch skipped {len(missed)} rows and used {len(twice)} more than once",
            f"of {self.rows} rows",
            where=where,
            remedy="Resume from a checkpoint that keeps the rows already used",
            rows=tuple(str(r) for r in [*missed, *twice][:100]),
            figures={"missed": len(missed), "repeated": len(twice)},
        )
