"""Layer 8: ISX018: features that say nothing: constant, equal for all rows, of rank one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True  # needs features
MAX_ROWS = 1000
LEAST_ROWS, LEAST_WIDTH = 20, 8
SAME, CONSTANT, RANK = 0.5, 0.9, 2.0


def effective_rank(X: Array) -> float:
    """Exponential of the entropy of the normalised squared singular values (Roy & Vetterli 2007).

    0 where all rows are equal.
    """
    centred = X - X.mean(axis=0)
    power = np.linalg.svd(centred, compute_uv=False) ** 2
    if power.sum() <= 1e-20 * max(float((X**2).sum()), 1e-30):
        return 0.0
    share = power / power.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def find(view: ModelView) -> Iterable[Finding]:
    """Rank, constant columns and equal rows of every part."""
    for role, part in view.parts():
        X = np.asarray(part.X[:MAX_ROWS], dtype=np.float64)
        if len(X) < LEAST_ROWS or X.shape[1] < LEAST_WIDTH or not np.isfinite(X).all():
            continue
        scale = max(float(np.abs(X).max()), 1e-12)
        # columns of a table have units of their own, those of a network share one
        unit = np.maximum(np.abs(X).max(axis=0), 1e-12) if view.columns else scale
        repeated = 1 - len(np.unique(np.round(X / unit, 6), axis=0)) / len(X)
        constant = float((X.std(axis=0) <= 1e-7 * unit).mean())
        spread = X / np.maximum(X.std(axis=0), 1e-9 * unit) if view.columns else X
        rank = effective_rank(spread)
        if repeated >= (0.95 if view.modality == "table" else SAME):
            title = f"{100 * repeated:.0f} % of the {role} rows have features that others have too"
        elif constant >= CONSTANT:
            title = f"{100 * constant:.0f} % of the features of the {role} rows are constant"
        elif rank < RANK:
            title = f"the features of the {role} rows all lie on one line"
        else:
            continue
        yield Finding(
            "ISX018",
            "error" if repeated > 0.95 or constant > 0.99 else "warning",
            title,
            f"effective rank {rank:.1f} of {min(X.shape)}, {100 * constant:.0f} % constant, "
            f"{100 * repeated:.0f} % repeated",
            where=str(getattr(view.backbone, "name", "")),
            remedy="Look at the network's input and layer; compare with another --backbone",
            figures={"rank": rank, "constant": constant, "repeated": repeated},
        )
