"""Layer 8: the rows behind the score and what the model said of them; no more than was opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.fit.open_set import UNKNOWN
from isthmus.run.case import Case
from isthmus.run.proof import Proof
from isthmus.types import Array, Task

ROLE = {"sealed": "test", "cv-target": "labelled target", "cv-source": "source"}


@dataclass(frozen=True)
class Scored:
    """The rows of the score.

    Parameters
    ----------
    role : str
        Part they belong to: ``test``, ``labelled target`` or ``source``.
    task : str
    classes : tuple of str
    rows : ndarray of int (n,)
        Positions in that part.
    truth, predicted : ndarray (n,) or (n, k)
    proba, before : ndarray (n, k) or None
        Probabilities as they are given out, and without the temperature.
    openings : int
        How often the sealed labels have been opened by now; 0 where they were not sealed.
    """

    role: str
    task: Task
    classes: tuple[str, ...]
    rows: Array
    truth: Array
    predicted: Array
    proba: Array | None
    before: Array | None
    openings: int

    @property
    def right(self) -> Array:
        """(n,) bool, or None-like zeros for regression, where no answer is right or wrong."""
        if self.task == "multilabel":
            return np.asarray(
                (np.asarray(self.truth, bool) == np.asarray(self.predicted, bool)).all(axis=1)
            )
        if self.task == "regression":
            return np.zeros(len(self.rows), dtype=bool)
        truth, said = self.truth.astype(str), self.predicted.astype(str)
        novel = (said == UNKNOWN) & ~np.isin(truth, self.classes)
        return np.asarray((truth == said) | novel)

    @property
    def doubt(self) -> Array:
        """(n,) how wrong, for the order of errors: confidence of wrong answers, or |error|."""
        if self.task == "regression":
            gap = np.abs(np.asarray(self.truth, float) - np.asarray(self.predicted, float))
            return np.asarray(gap)
        if self.proba is None or self.task == "multilabel":
            return np.asarray(~self.right, dtype=float)
        return np.where(self.right, -1.0, self.proba.max(axis=1))

    def as_dict(self) -> dict[str, Any]:
        """JSON form, without the rows."""
        right = self.right
        count = None if self.task == "regression" else int((~right).sum())
        return {
            "role": self.role,
            "rows": len(self.rows),
            "wrong": count,
            "openings": self.openings,
        }


def scored_rows(case: Case, proof: Proof) -> Scored | None:
    """The rows of `proof`; None where nothing was scored."""
    found = proof.answered
    if found is None:
        return None
    return Scored(
        ROLE[proof.kind],
        case.task,
        case.classes,
        found.rows,
        found.truth,
        found.predicted,
        found.proba,
        found.before,
        proof.openings,
    )
