"""Layer 1: ISX003: numbers that were standardised, rotated or min-maxed with the test rows.

A scaler leaves fingerprints: over the rows that it was fitted on means are exactly 0, deviations
exactly 1, principal components exactly uncorrelated. If that holds for all rows together and not
for the training rows alone, the test rows were part of the fit (Kapoor & Narayanan, 2023).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.types import Array

LEAST_ROWS, LEAST_COLUMNS = 20, 3
EXACT = 1e-4  # float32 columns of some thousand rows keep their mean to about 1e-6


def find(view: RawView) -> Iterable[Finding]:
    """Exact statistics over training and scored rows together."""
    if view.modality not in ("table", "features"):
        return
    found = [(role, part, view.numbers(part)) for role, part in view.parts()]
    if any(numbers is None for _, _, numbers in found):
        return
    trained = {role for role, _ in view.training}
    mine = [n[1] for role, _, n in found if n is not None and role in trained]
    others = [n[1] for role, _, n in found if n is not None and role not in trained]
    widths = {matrix.shape[1] for matrix in (*mine, *others)}
    if not mine or not others or len(widths) != 1 or not view.apart:
        return
    train, rest = np.concatenate(mine), np.concatenate(others)
    whole = np.concatenate([train, rest])
    if len(train) < LEAST_ROWS or len(rest) < 5 or whole.shape[1] < LEAST_COLUMNS:
        return
    how = _standardised(whole, train, rest) or _rotated(whole, train) or _min_max(whole, train)
    if how:
        yield Finding(
            "ISX003",
            "warning",
            "the numbers were prepared with the test rows",
            how,
            where=view.target.origin,
            remedy="Give the unprepared numbers: isthmus fits the scaling on training rows only",
            figures={"rows": len(whole), "training_rows": len(train)},
        )


def _moments(matrix: Array) -> tuple[Array, Array]:
    """Mean and deviation of each column over its finite values; 0 where there are none."""
    there = np.isfinite(matrix)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, matrix, 0).sum(axis=0) / count
    square = np.where(there, matrix - mean, 0) ** 2
    return mean, np.sqrt(square.sum(axis=0) / count)


def _ends(matrix: Array) -> tuple[Array, Array]:
    """Smallest and largest finite value of each column."""
    there = np.isfinite(matrix)
    return (
        np.where(there, matrix, np.inf).min(axis=0),
        np.where(there, matrix, -np.inf).max(axis=0),
    )


def _standardised(whole: Array, train: Array, rest: Array) -> str:
    varying = _moments(whole)[1] > 1e-12
    if varying.sum() < LEAST_COLUMNS:
        return ""

    def exact(matrix: Array) -> Array:
        mean, deviation = _moments(matrix[:, varying])
        unbiased = deviation * np.sqrt(len(matrix) / max(len(matrix) - 1, 1))
        unit = np.minimum(abs(deviation - 1), abs(unbiased - 1))
        return np.asarray((abs(mean) < EXACT) & (unit < 10 * EXACT))

    # text and category columns are usually left as they are: a few exact columns are enough
    found = exact(whole)
    if found.sum() < max(LEAST_COLUMNS, 0.2 * varying.sum()):
        return ""
    if max(exact(train)[found].mean(), exact(rest)[found].mean()) > 0.2:
        return ""
    return (
        f"over all {len(whole)} rows together {found.sum()} of {varying.sum()} columns have "
        "mean 0 and deviation 1 exactly, over the training rows alone they have not"
    )


def _rotated(whole: Array, train: Array) -> str:
    if not np.isfinite(whole).all() or whole.shape[1] > min(len(train) - 1, 400):
        return ""

    def most(matrix: Array) -> float:
        deviation = matrix.std(axis=0)
        if (deviation < 1e-12).any():
            return np.inf
        relation = np.corrcoef(matrix, rowvar=False)
        np.fill_diagonal(relation, 0)
        return float(np.abs(relation).max())

    together, alone = most(whole), most(train)
    if together < 10 * EXACT and alone > 0.02:
        return (
            f"over all {len(whole)} rows together the columns are exactly uncorrelated (principal "
            f"components: largest correlation {together:.1e}), over the training rows alone not "
            f"({alone:.2f})"
        )
    return ""


def _min_max(whole: Array, train: Array) -> str:
    low, high = _ends(whole)
    values = np.array([len(np.unique(column[np.isfinite(column)][:500])) for column in whole.T])
    rich = (high > low) & (values > 20)  # 0/1 columns span 0..1 by themselves
    if rich.sum() < LEAST_COLUMNS:
        return ""

    def spans(matrix: Array) -> Array:
        a, b = _ends(matrix[:, rich])
        return np.asarray((abs(a) < 1e-9) & (abs(b - 1) < 1e-6))

    together, alone = spans(whole).mean(), spans(train).mean()
    if together >= 0.95 and alone < 0.7:
        return (
            f"over all {len(whole)} rows together {100 * together:.0f} % of the columns span "
            f"exactly 0..1, over the training rows alone {100 * alone:.0f} %"
        )
    return ""
