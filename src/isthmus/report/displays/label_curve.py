"""Layer 7: score over the number of labelled target rows.

`sklearn.model_selection.LearningCurveDisplay` refits an estimator; this one shows what a run has
measured already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from isthmus.errors import DataError
from isthmus.report.displays.base import SOURCE, Display, bare
from isthmus.report.folder import CURVE, load_run
from isthmus.types import Array


class LabelCurveDisplay(Display):
    """A learning curve with its band.

    Parameters
    ----------
    labels : ndarray of int (m,)
        Labelled target rows.
    score, low, high : ndarray (m,)
    """

    def __init__(self, labels: Array, score: Array, low: Array, high: Array) -> None:
        self.labels = labels
        self.score = score
        self.low = low
        self.high = high

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """The curve of a run; nothing is drawn yet.

        Raises
        ------
        UsageError
            If there is no finished run in the folder.
        DataError
            If the run has no learning curve: it had no labelled target rows.
        """
        rows = [r for r in load_run(folder).curve if r["kind"] == "measured" and r["score"]]
        if not rows:
            raise DataError(
                "the run has no learning curve",
                where=str(Path(folder) / CURVE),
                why="it needs labelled target rows",
                remedy="Give --shots or --target-labels",
            )
        columns = (
            np.array([float(r[k] or "nan") for r in rows])
            for k in ("labels", "score", "low", "high")
        )
        labels, *rest = columns
        return cls(labels.astype(int), *rest)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw."""
        ax = self._axes(ax)
        ax.fill_between(self.labels, self.low, self.high, color=SOURCE, alpha=0.15, linewidth=0)
        ax.plot(self.labels, self.score, color=SOURCE, marker="o")
        ax.set(xlabel="labelled target rows", ylabel="score")
        bare(ax)
        return self
