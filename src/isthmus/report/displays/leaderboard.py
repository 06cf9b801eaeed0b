"""Layer 7: routes and baselines of a run with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from isthmus.errors import DataError
from isthmus.report.displays.base import INK, SOURCE, Display, bare
from isthmus.report.folder import load_run
from isthmus.types import Array


class LeaderboardDisplay(Display):
    """Points with whiskers, a route a line.

    Parameters
    ----------
    names : sequence of str
    score, low, high : ndarray (m,)
    metric : str
    chosen : str
        The route that serves; it is drawn in colour.
    """

    def __init__(
        self,
        names: Sequence[str],
        score: Array,
        low: Array,
        high: Array,
        *,
        metric: str = "",
        chosen: str = "",
    ) -> None:
        self.names = names
        self.score = score
        self.low = low
        self.high = high
        self.metric = metric
        self.chosen = chosen

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """What a run has proved; nothing is drawn yet.

        Raises
        ------
        UsageError
            If there is no finished run in the folder.
        DataError
            If the run measured nothing.
        """
        results = load_run(folder).results
        proof = results["proof"]
        found = {k: v for k, v in proof["headline"].items() if v["value"] is not None}
        if not found:
            raise DataError("the run measured nothing", where=str(folder), why=proof["protocol"])
        columns = (
            np.array([np.nan if s[k] is None else s[k] for s in found.values()], dtype=float)
            for k in ("value", "low", "high")
        )
        return cls(list(found), *columns, metric=proof["column"], chosen=results["chosen"])

    def plot(self, *, ax: Any = None) -> Self:
        """Draw."""
        ax = self._axes(ax, size=(6.4, 1.2 + 0.36 * len(self.names)))
        for k, name in enumerate(self.names):
            colour = SOURCE if name == self.chosen else INK
            ax.plot([self.low[k], self.high[k]], [k, k], color=colour, linewidth=2)
            ax.plot(self.score[k], k, color=colour, marker="o")
        ax.set(xlabel=self.metric, yticks=range(len(self.names)), yticklabels=list(self.names))
        ax.invert_yaxis()
        bare(ax)
        return self
