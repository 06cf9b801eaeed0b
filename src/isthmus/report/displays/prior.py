"""Layer 7: class shares of source and target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from isthmus.data.labels import natural_sorted
from isthmus.errors import DataError
from isthmus.report.displays.base import INK, SOURCE, TARGET, Display, bare
from isthmus.types import Array


class PriorShiftDisplay(Display):
    """Shares of each class, joined.

    Parameters
    ----------
    classes : sequence of str
    source, target : ndarray of shape (k,)
        Shares that sum to 1.

    Examples
    --------
    >>> PriorShiftDisplay.from_labels(["a", "a", "b"], ["b"]).target.tolist()
    [0.0, 1.0]
    """

    def __init__(self, classes: Sequence[str], source: Array, target: Array) -> None:
        self.classes = classes
        self.source = source
        self.target = target

    @classmethod
    def from_labels(cls, ys: Any, yt: Any) -> Self:
        """Count the labels of both domains; nothing is drawn yet.

        Raises
        ------
        DataError
            If a side is empty.
        """
        sides = [np.asarray(y).astype(str) for y in (ys, yt)]
        if not all(map(len, sides)):
            raise DataError("no labels", where="from_labels")
        classes = natural_sorted(set(sides[0]) | set(sides[1]))
        shares = [np.array([(side == c).mean() for c in classes]) for side in sides]
        return cls(classes, *shares)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw."""
        ax = self._axes(ax, size=(6.4, 1.4 + 0.28 * len(self.classes)))
        rows = np.arange(len(self.classes))
        ax.hlines(rows, self.source, self.target, color=INK, alpha=0.35, linewidth=3)
        ax.scatter(self.source, rows, color=SOURCE, marker="o", label="source", zorder=3)
        ax.scatter(self.target, rows, color=TARGET, marker="D", label="target", zorder=3)
        ax.set(xlabel="share of the rows", yticks=rows, yticklabels=list(self.classes))
        ax.set_xlim(left=0)
        ax.invert_yaxis()
        ax.legend(frameon=False)
        bare(ax)
        return self
