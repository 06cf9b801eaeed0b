"""Layer 7: which features drifted most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from isthmus.discrepancy.drift import drift
from isthmus.report.displays.base import INK, SOURCE, Display, bare
from isthmus.types import Array


class DriftDisplay(Display):
    """Bars of the Kolmogorov-Smirnov distance, the largest on top.

    Parameters
    ----------
    names : sequence of str
    statistic : ndarray of shape (k,)
        In 0..1.
    drifted : ndarray of bool (k,)
        Beyond chance, at the false discovery rate of `isthmus.discrepancy.drift`.
    """

    def __init__(self, names: Sequence[str], statistic: Array, drifted: Array) -> None:
        self.names = names
        self.statistic = statistic
        self.drifted = drifted

    @classmethod
    def from_domains(cls, Xs: Any, Xt: Any, *, names: Sequence[str] | None = None) -> Self:
        """Distance of every feature; nothing is drawn yet.

        Parameters
        ----------
        Xs, Xt : array-like of shape (n_s, d), (n_t, d)
        names : sequence of str, optional
        """
        found = drift(np.asarray(Xs, float), np.asarray(Xt, float), names=names)
        order = np.argsort(-found.statistic, kind="stable")
        return cls(
            [str(found.names[i]) for i in order], found.statistic[order], found.drifted[order]
        )

    def plot(self, *, ax: Any = None, most: int = 15) -> Self:
        """Draw the `most` largest; features within chance are grey."""
        count = min(most, len(self.names))
        ax = self._axes(ax, size=(6.4, 1.2 + 0.26 * count))
        colours = [SOURCE if there else INK for there in self.drifted[:count]]
        ax.barh(range(count), self.statistic[:count], color=colours)
        ax.set(
            xlabel="Kolmogorov-Smirnov distance",
            yticks=range(count),
            yticklabels=list(self.names[:count]),
        )
        ax.invert_yaxis()
        bare(ax)
        return self
