"""Layer 8: every part of a case through the backbone once; bad rows leave here, by name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isthmus.backbone import Backbone, FrameBackbone, Store, embed
from isthmus.data.quarantine import check_bad_share
from isthmus.data.samples import FrameItems, Problem, Samples, account, shared_ids
from isthmus.errors import DataError
from isthmus.run.case import Case
from isthmus.select.routes.base import Domains, Labelled
from isthmus.types import Array

logger = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Part:
    """One part of the case after extraction: only rows that could be read, with their features."""

    samples: Samples
    X: Array
    rows: Array  # positions in the part before extraction
    hits: int = 0
    computed: int = 0
    unreached: int = 0

    def take(self, rows: Array) -> Part:
        """These of its rows, in that order."""
        return replace(
            self, samples=self.samples.take(rows), X=np.asarray(self.X)[rows], rows=self.rows[rows]
        )


@dataclass(frozen=True)
class Extracted:
    """All parts, the backbone that made them, and what had to be set aside.

    Parameters
    ----------
    source, labelled, test : Part or None
    target : Part
    backbone : Backbone or FrameBackbone
        Fitted, where it had to be.
    problems : tuple of Problem
        From reading and from decoding.
    seen : int
        Rows and files looked at in all, each once (`isthmus.data.samples.account`).
    notes : tuple of str
    """

    source: Part | None
    labelled: Part | None
    target: Part
    test: Part | None
    backbone: Backbone | FrameBackbone
    problems: tuple[Problem, ...]
    seen: int
    notes: tuple[str, ...]

    def domains(self, *, whole: bool = False) -> Domains:
        """What the routes may see.

        Parameters
        ----------
        whole : bool, default=False
            Put the labelled target rows among the target rows as well, for routes that adapt to
            all of them.
        """
        known, Xt = _labelled(self.labelled), self.target.X
        if known is None or not whole:
            return Domains(_labelled(self.source), known, Xt)
        assert self.labelled is not None
        place = {row_id: i for i, row_id in enumerate(self.target.samples.ids)}
        found = [place.get(row_id, -1) for row_id in self.labelled.samples.ids]
        at = np.array(found)
        # equal ids are not enough: labelled rows of their own may be numbered like the target's
        if min(found) < 0 or not np.allclose(Xt[at], known.X, rtol=1e-3, atol=1e-5):
            at = np.arange(len(Xt), len(Xt) + len(known))
            Xt = np.concatenate([np.asarray(Xt), np.asarray(known.X)])
        return Domains(_labelled(self.source), replace(known, at=at), Xt)


def extract(
    case: Case,
    backbone: Backbone | FrameBackbone,
    *,
    store: Store | None,
    max_bad: float,
    seed: int,
    deadline: float | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Extracted:
    """Features of all parts; the source comes last, because only it may be cut by the time budget.

    Raises
    ------
    DataError
        If more than `max_bad` of all rows are bad, or a part is left without rows.
    """
    backbone = prepared(case, backbone)
    parts = (case.source, case.labelled, case.target, case.test)
    looked_at = account([part for part in parts if part is not None])
    problems = list(looked_at.problems)
    done: list[Samples] = []
    notes: list[str] = []

    def run(role: str, samples: Samples | None, limit: float | None = None) -> Part | None:
        if samples is None:
            return None
        report = None if progress is None else (lambda done, total: progress(role, done, total))
        got = embed(
            backbone, samples, store=store, workers=workers, deadline=limit, progress=report
        )
        told = set().union(*(shared_ids(samples, other) for other in done)) if got.problems else ()
        problems.extend(p for p in got.problems if p.where not in told)
        done.append(samples)
        notes.extend(f"{role} rows: {note}" for note in got.notes)
        part = Part(
            samples.take(got.rows), got.features, got.rows, got.hits, got.computed, got.unreached
        )
        if not len(part.X):
            first = got.problems[0].reason if got.problems else "the time budget ended"
            raise DataError(f"no row of the {role} could be read", where=samples.origin, why=first)
        return part

    labelled = run("labelled target", case.labelled)
    target = run("target", case.target)
    assert target is not None
    same = case.test is not None and case.test.ids == case.target.ids
    test = replace(target) if same else run("test", case.test)
    source = _source_part(case, run, seed, deadline, notes)
    check_bad_share(problems, looked_at.seen, max_bad=max_bad)
    return Extracted(
        source, labelled, target, test, backbone, tuple(problems), looked_at.seen, tuple(notes)
    )


LEAST_SOURCE, LEAST_PER_CLASS = 200, 20  # source rows that are used whatever --time says


def _source_part(
    case: Case, run: Any, seed: int, deadline: float | None, notes: list[str]
) -> Part | None:
    if case.source is None:
        return None
    if deadline is None:
        part: Part = run("source", case.source)
        return part
    # With a budget the source is taken in a seeded random order, so that what is reached when the
    # time ends is a fair sample of it instead of its first classes.
    order = np.random.default_rng(seed).permutation(len(case.source))
    least = min(len(order), max(LEAST_SOURCE, LEAST_PER_CLASS * len(case.classes)))
    reached: Part | None = None
    if time.monotonic() < deadline:
        with suppress(DataError):  # the time ended before the first row
            reached = run("source", case.source.take(order), deadline)
    if reached is not None and len(reached.X) >= least:
        part = reached
        kept = "The time budget allowed"
    else:
        # The target rows took it all; without any source row there would be no model.
        order = order[:least]
        part = run("source", case.source.take(order))
        kept = "The time budget was used up by the target rows and is exceeded for"
    if part.unreached or len(order) < len(case.source):
        notes.append(
            f"{kept} {len(part.X)} of {len(case.source)} source rows, "
            "a random sample; a longer --time uses them all."
        )
    back = np.argsort(order[part.rows], kind="stable")
    return replace(
        part, samples=part.samples.take(back), X=part.X[back], rows=order[part.rows][back]
    )


def prepared(case: Case, backbone: Any) -> Backbone | FrameBackbone:
    """What a backbone must learn from the data first: a table's encoder, the width of plain rows.

    Tables have no pretrained encoder: it is fitted on the labelled rows, never on the target.
    """
    import pandas as pd

    if not isinstance(case.target.items, FrameItems):
        fixed = getattr(backbone, "fixed", None)
        ready: Backbone = backbone if fixed is None else fixed(len(case.target.items[0]))
        return ready
    frames = [
        part.items.frame
        for part in (case.source, case.labelled)
        if part is not None and isinstance(part.items, FrameItems)
    ]
    fitted: FrameBackbone = backbone.fit(pd.concat(frames, ignore_index=True))
    return fitted


def _labelled(part: Part | None) -> Labelled | None:
    return None if part is None else as_labelled(part.X, part.samples)


def as_labelled(X: Array, samples: Samples) -> Labelled:
    """Labelled rows as routes see them."""
    assert samples.labels is not None
    domain = None if samples.domain is None else samples.domain.astype(str)
    return Labelled(X, samples.labels, samples.groups, domain=domain)
