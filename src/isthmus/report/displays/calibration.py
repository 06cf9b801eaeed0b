"""Layer 7: calibration before and after: two reliability curves on one axis.

For one curve scikit-learn has `CalibrationDisplay`; this one compares two sets of probabilities of
the same rows over any number of classes, by the most probable class.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from isthmus.evaluate.calibration import Reliability, reliability
from isthmus.report.displays.base import INK, SOURCE, TARGET, Display, bare

BINS = 10


class CalibrationShiftDisplay(Display):
    """Two reliability curves.

    Parameters
    ----------
    before, after : Reliability
    """

    def __init__(self, before: Reliability, after: Reliability) -> None:
        self.before = before
        self.after = after

    @classmethod
    def from_predictions(
        cls, y_true: Any, before: Any, after: Any, *, classes: Any, bins: int = BINS
    ) -> Self:
        """Reliability of both; nothing is drawn yet.

        Parameters
        ----------
        y_true : array-like (n,)
            Class names.
        before, after : array-like of shape (n, k)
            Probabilities of the same rows.
        classes : sequence of str
            Of the columns.
        bins : int, default=10

        Raises
        ------
        DataError
            If lengths differ or a probability is none.
        """
        names, truth = np.asarray(classes).astype(str), np.asarray(y_true).astype(str)
        tables = []
        for given in (before, after):
            proba = np.asarray(given, float)
            right = names[proba.argmax(axis=1)] == truth
            tables.append(reliability(proba.max(axis=1), right, bins=bins))
        return cls(*tables)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw."""
        ax = self._axes(ax, size=(4.8, 4.6))
        ax.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1)
        pairs = ((self.before, TARGET, "before"), (self.after, SOURCE, "after"))
        for table, colour, name in pairs:
            there = table.count > 0
            ax.plot(
                table.confidence[there],
                table.accuracy[there],
                color=colour,
                marker="o",
                label=f"{name} (ECE {table.ece:.3f})",
            )
        ax.set(xlabel="stated confidence", ylabel="share that was right", xlim=(0, 1), ylim=(0, 1))
        ax.legend(frameon=False)
        bare(ax)
        return self
