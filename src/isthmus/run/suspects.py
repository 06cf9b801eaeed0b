"""Layer 8: single rows worth a look: likely label errors, near duplicates, outliers, rare slices.

Everything rests on features that are there anyway. Scores order the rows; they are no proof.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks import quick
from isthmus.run.checks.near_copies import near_pairs
from isthmus.run.extract import Extracted, Part
from isthmus.types import Array

MAX_ROWS = 3000
NEIGHBOURS = 10
FAR = 3.5  # robust deviations
RARE, LEAST_SLICE = 0.03, 3
CODES = {
    "label error": "ISX031",
    "duplicate": "ISX032",
    "outlier": "ISX033",
    "rare slice": "ISX034",
}


@dataclass(frozen=True)
class Suspect:
    """One row of the list.

    Parameters
    ----------
    kind : str
        ``label error``, ``duplicate``, ``outlier`` or ``rare slice``.
    part, id : str
        Where it is.
    label : str
        As given; empty where there is none.
    score : float
        In 0..1 for label errors (how sure the other class is against the given one) and
        duplicates (likeness); robust deviations for outliers; share of the part for rare slices.
    other : str
        The class that fits better, the row that it equals, or the slice.
    """

    kind: str
    part: str
    id: str
    label: str
    score: float
    other: str


@dataclass(frozen=True)
class Suspects:
    """All of them, the worst of each kind first."""

    rows: tuple[Suspect, ...] = ()
    looked: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Kind -> rows."""
        found = Counter(row.kind for row in self.rows)
        return {kind: found[kind] for kind in CODES}

    def csv(self) -> str:
        """As CSV text; cells that a spreadsheet would run as formulas are quoted."""
        import pandas as pd

        columns = list(Suspect.__dataclass_fields__)
        frame = pd.DataFrame([asdict(row) for row in self.rows], columns=columns)
        from isthmus.serve.writers import frame_to_csv

        return frame_to_csv(frame)

    def findings(self) -> list[Finding]:
        """One finding of severity ``info`` for each kind that occurs."""
        found = []
        for kind, code in CODES.items():
            rows = [row for row in self.rows if row.kind == kind]
            if not rows:
                continue
            first = rows[0]
            total = sum(self.looked.values())
            found.append(
                Finding(
                    code,
                    "info",
                    f"{len(rows)} of {total} rows look like {kind}{'' if len(rows) == 1 else 's'}",
                    f"first {first.id}"
                    + (f" (label {first.label!r})" if first.label else "")
                    + (f": {first.other}" if first.other else ""),
                    where=first.part,
                    remedy="Look at them: isthmus check --out DIR lists all in suspects.csv",
                    rows=tuple(row.id for row in rows),
                    figures={"rows": len(rows), "looked": total},
                )
            )
        return found


def suspects_of(features: Extracted, *, seed: int = 0, columns: bool = False) -> Suspects:
    """Look through every part of a run.

    Parameters
    ----------
    columns : bool
        Whether features are columns of their own unit (tables, plain features).
    """
    found: list[Suspect] = []
    looked: dict[str, int] = {}
    parts = (
        ("source", features.source),
        ("labelled target", features.labelled),
        ("target", features.target),
    )
    for role, part in parts:
        if part is None:
            continue
        rows = quick.thinned(part.X, seed, MAX_ROWS)
        kept = part.take(rows)
        looked[role] = len(rows)
        found += label_errors(role, kept, columns=columns, seed=seed)
        found += duplicates(role, kept, columns=columns)
        found += outliers(role, kept, columns=columns)
        found += rare_slices(role, kept, columns=columns, seed=seed)
    order = {kind: k for k, kind in enumerate(CODES)}
    found.sort(key=lambda s: (order[s.kind], s.score if s.kind == "rare slice" else -s.score, s.id))
    return Suspects(tuple(found), looked)


def label_errors(role: str, part: Part, *, columns: bool, seed: int = 0) -> list[Suspect]:
    """Confident learning: rows whose out-of-fold probability crosses another class's threshold.

    A row with label i is suspect if for a class j != i its probability reaches the mean
    probability of j over the rows that are labelled j, and j is its most probable class
    (Northcutt, Jiang & Chuang, JAIR 2021, equation 1). The score is p(j) - p(i).
    """
    labels = part.samples.labels
    if part.samples.task != "classification" or labels is None:
        return []
    y = labels.astype(str)
    counts = Counter(y.tolist())
    if len(counts) < 2 or min(counts.values()) < 5:
        return []
    scores, classes = quick.out_of_fold(
        part.X, y, columns=columns, groups=part.samples.groups, seed=seed
    )
    p = quick.probabilities(scores, y, classes)
    codes = np.searchsorted(classes, y)
    own = p[np.arange(len(y)), codes]
    threshold = np.array([p[codes == k, k].mean() for k in range(len(classes))])
    best = p.argmax(axis=1)
    suspect = (best != codes) & (p[np.arange(len(y)), best] >= threshold[best])
    margin = p[np.arange(len(y)), best] - own
    return [
        Suspect(
            "label error",
            role,
            part.samples.ids[row],
            str(y[row]),
            round(float(margin[row]), 4),
            str(classes[best[row]]),
        )
        for row in np.flatnonzero(suspect)
    ]


def duplicates(role: str, part: Part, *, columns: bool) -> list[Suspect]:
    """Rows that nearly repeat an earlier one of the same part."""
    samples = part.samples
    pairs = near_pairs(
        part.X, samples, part.X, samples, samples.modality, columns=columns, itself=True
    )
    labels = samples.labels if samples.task == "classification" else None
    return [
        Suspect(
            "duplicate",
            role,
            samples.ids[b],
            "" if labels is None else str(labels[b]),
            round(alike, 4),
            samples.ids[a],
        )
        for a, b, alike in pairs
    ]


def outliers(role: str, part: Part, *, columns: bool) -> list[Suspect]:
    """Rows whose nearest neighbours are far away, in robust deviations of that distance."""
    if len(part.X) < 3 * NEIGHBOURS:
        return []
    X = quick.scaled(part.X, columns=columns)[0].astype(np.float32)
    norms = (X**2).sum(axis=1)
    distance = np.empty(len(X))
    for first in range(0, len(X), 1024):
        block = norms[first : first + 1024, None] - 2 * X[first : first + 1024] @ X.T + norms
        nearest = np.partition(np.maximum(block, 0), NEIGHBOURS, axis=1)[:, 1 : NEIGHBOURS + 1]
        distance[first : first + 1024] = np.sqrt(nearest).mean(axis=1)
    middle = np.median(distance)
    spread = max(1.4826 * float(np.median(np.abs(distance - middle))), 1e-12)
    score = (distance - middle) / spread
    labels = part.samples.labels if part.samples.task == "classification" else None
    return [
        Suspect(
            "outlier",
            role,
            part.samples.ids[row],
            "" if labels is None else str(labels[row]),
            round(float(score[row]), 2),
            "",
        )
        for row in np.flatnonzero(score > FAR)
    ]


def rare_slices(role: str, part: Part, *, columns: bool, seed: int = 0) -> list[Suspect]:
    """Small clusters far from the rest: a camera, a phrase, a hospital with a handful of rows."""
    from sklearn.cluster import KMeans

    if len(part.X) < 60:
        return []
    X = quick.scaled(part.X, columns=columns)[0]
    width = min(16, *X.shape)
    left, power, _ = np.linalg.svd(X, full_matrices=False)
    Z = left[:, :width] * power[:width]
    count = int(np.clip(len(X) // 25, 4, 24))
    if len(np.unique(np.round(Z, 6), axis=0)) < 2 * count:
        return []  # repeated rows are no clusters
    groups = KMeans(count, n_init=3, random_state=seed).fit_predict(Z)
    centres = np.stack([Z[groups == k].mean(axis=0) for k in range(count)])
    within = np.sqrt(((Z - centres[groups]) ** 2).sum(axis=1))
    found = []
    for k in range(count):
        rows = np.flatnonzero(groups == k)
        share = len(rows) / len(X)
        gap = np.sqrt(((np.delete(centres, k, axis=0) - centres[k]) ** 2).sum(axis=1)).min()
        if len(rows) >= LEAST_SLICE and share <= RARE and gap > 2 * np.median(within):
            name = _described(part, rows, k)
            found += [
                Suspect("rare slice", role, part.samples.ids[row], _label(part, row),
                        round(share, 4), name)
                for row in rows
            ]  # fmt: skip
    return found


def _label(part: Part, row: Any) -> str:
    labels = part.samples.labels if part.samples.task == "classification" else None
    return "" if labels is None else str(labels[row])


def _described(part: Part, rows: Array, number: int) -> str:
    names = Counter(_label(part, row) for row in rows)
    name, count = names.most_common(1)[0]
    of = f", {count} of them {name!r}" if name else ""
    return f"slice {number + 1}: {len(rows)} rows{of}"
