"""Layer 8: ISX002: the same patient, speaker or burst on both sides of a split.

File names often carry the group: ``3_jackson_12.wav``, ``patient07_shot3.jpg``. A part of the name
is taken for one if it returns in several rows and the nearest neighbour of a scored row shares it
far more often than chance would have it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.samples import FileItems, FrameItems, Samples
from isthmus.run.checks.near_copies import overlapping
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True  # needs features
LEAST_SHARED, LIFT, CHANCE = 0.3, 1.5, 1e-4
BURST = 12  # numbers apart: neighbours in a sequence of photos
_SPLIT = re.compile(r"[_\-\s.]+")
_NUMBER = re.compile(r"\d+")


def find(view: ModelView) -> Iterable[Finding]:
    """Parts of names and columns that act like groups, where no group was given."""
    scored = view.scored()
    if scored is None or not view.raw.apart:
        return
    role, part = scored
    for mine, trained in view.training():
        if overlapping(view, mine):
            continue
        if trained.samples.groups is not None and part.samples.groups is not None:
            yield from _known(mine, trained.samples, role, part.samples)
            continue
        near = nearest(trained.X, part.X, columns=view.columns)
        for name, here, there in _keys(trained.samples, part.samples):
            found = crossing(here, there, near)
            if found is None:
                continue
            shared, hits, chance = found
            yield Finding(
                "ISX002",
                "warning",
                f"{name} looks like a group, and {100 * shared:.0f} % of the {role} rows share it "
                f"with {mine} rows",
                f"the nearest {mine} row has the same value for {100 * hits:.0f} % of them, "
                f"by chance {100 * chance:.0f} %",
                where=part.samples.origin,
                remedy="Name the group with --group, so that a patient, speaker or burst is never "
                "torn apart",
                figures={"shared": shared, "neighbours": hits, "chance": chance},
            )
            break


def _known(mine: str, one: Samples, role: str, other: Samples) -> Iterable[Finding]:
    assert one.groups is not None and other.groups is not None
    here = {str(g) for g in one.groups}
    both = np.array([str(g) in here for g in other.groups])
    if both.mean() > 0.01:
        yield Finding(
            "ISX002",
            "warning",
            f"{100 * both.mean():.0f} % of the {role} rows belong to groups of the {mine} rows",
            f"{len(here & {str(g) for g in other.groups})} groups are on both sides",
            where=other.origin,
            remedy="Score groups that no training row belongs to",
            rows=tuple(other.ids[i] for i in np.flatnonzero(both)[:100]),
            figures={"shared": float(both.mean())},
        )


def nearest(X: Array, Z: Array, *, columns: bool) -> Array:
    """Position of the nearest row of `X` for each row of `Z` (cosine, or standardised)."""
    A, B = np.asarray(X, dtype=np.float32), np.asarray(Z, dtype=np.float32)
    mean = A.mean(axis=0)
    spread = np.maximum(A.std(axis=0), 1e-6) if columns else np.float32(1)
    A, B = (A - mean) / spread, (B - mean) / spread
    A /= np.maximum(np.linalg.norm(A, axis=1, keepdims=True), 1e-9)
    B /= np.maximum(np.linalg.norm(B, axis=1, keepdims=True), 1e-9)
    found = [(B[i : i + 2048] @ A.T).argmax(axis=1) for i in range(0, len(B), 2048)]
    return np.concatenate(found)


def crossing(here: Array, there: Array, near: Array) -> tuple[float, float, float] | None:
    """(share of rows whose value both sides hold, neighbours with the same value, by chance).

    None if the values do not act like a group that crosses the split.
    """
    from scipy.stats import binom

    counts = Counter(here.tolist())
    values = len(counts)
    if not 2 <= values <= len(here) / 2 or np.median(list(counts.values())) < 2:
        return None
    shared = np.array([v in counts for v in there])
    if shared.mean() < LEAST_SHARED or shared.sum() < 10:
        return None
    hits = (here[near] == there)[shared]
    chances = np.array([counts[v] / len(here) for v in there[shared]])
    chance = float(chances.mean())
    # P(at least so many hits | the neighbour is any row)
    if hits.mean() < LIFT * chance or hits.mean() - chance < 0.1:
        return None
    if binom.sf(hits.sum() - 1, len(hits), chance) > CHANCE:
        return None
    return float(shared.mean()), float(hits.mean()), chance


def _keys(one: Samples, other: Samples) -> Iterable[tuple[str, Array, Array]]:
    """(name, values of one, values of the other) of what may be a group and is no label."""
    if isinstance(one.items, FrameItems) and isinstance(other.items, FrameItems):
        here, there = one.items.frame, other.items.frame
        for name in here.columns:
            if name in there.columns and _whole(here[name]):
                yield f"the column {name!r}", _texts(here[name]), _texts(there[name])
        return
    if not isinstance(one.items, FileItems) or not isinstance(other.items, FileItems):
        return
    first, second = _tokens(one.ids), _tokens(other.ids)
    if first is not None and second is not None and first.shape[1] == second.shape[1]:
        for place in range(first.shape[1]):
            if not _is_label(first[:, place], one) and not _is_label(second[:, place], other):
                yield f"part {place + 1} of the file name", first[:, place], second[:, place]
    if one.origin == other.origin or set(_folders(one)) == set(_folders(other)):
        a, b = _numbers(one.ids), _numbers(other.ids)
        if a is not None and b is not None:
            yield "the running number in the file name", a // BURST, b // BURST


def _texts(column: Any) -> Array:
    return np.array([str(v) for v in column])


def _whole(column: Any) -> bool:
    """Names or whole numbers with many different values: nothing that is measured."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "fb":
        return False
    return bool(column.nunique() >= max(8, len(column) / 20))


def _folders(samples: Samples) -> list[str]:
    return [row_id.rpartition("/")[0] for row_id in samples.ids]


def _tokens(ids: tuple[str, ...]) -> Array | None:
    """(n, k) parts of the file names, where all names have the same number of parts."""
    if not ids:
        return None
    made = [_SPLIT.split(name.rpartition("/")[2].rpartition(".")[0]) for name in ids]
    if len({len(parts) for parts in made}) != 1 or len(made[0]) < 2:
        return None
    return np.array(made)


def _numbers(ids: tuple[str, ...]) -> Array | None:
    """The last number in each file name, if nearly all differ."""
    found = [_NUMBER.findall(name.rpartition("/")[2]) for name in ids]
    if not all(found):
        return None
    numbers = np.array([int(parts[-1][:12]) for parts in found])
    return numbers if len(set(numbers.tolist())) > 0.9 * len(numbers) else None


def _is_label(values: Array, samples: Samples) -> bool:
    """Whether a part of the names says the label."""
    if samples.labels is None or samples.task != "classification":
        return False
    pairs = set(zip(values.tolist(), map(str, samples.labels)))
    return len(pairs) <= 1.2 * max(len(set(values.tolist())), len({p[1] for p in pairs})) and len(
        {p[1] for p in pairs}
    ) == len(set(values.tolist()))
