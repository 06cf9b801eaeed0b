"""Layer 7: source and target rows on their first two principal components."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from isthmus.errors import DataError
from isthmus.report.displays.base import SOURCE, TARGET, Display, bare
from isthmus.types import Array

MAX_ROWS = 2000


class GapDisplay(Display):
    """Map of two domains.

    Parameters
    ----------
    source, target : ndarray of shape (n_s, 2), (n_t, 2)
        Positions.
    explained : float, optional
        Share of the variance that the two axes hold.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = GapDisplay.from_domains(rng.normal(size=(50, 5)), rng.normal(size=(40, 5)) + 2)
    >>> found.source.shape, found.target.shape
    ((50, 2), (40, 2))
    """

    def __init__(self, source: Array, target: Array, explained: float | None = None) -> None:
        self.source = source
        self.target = target
        self.explained = explained

    @classmethod
    def from_domains(
        cls, Xs: Any, Xt: Any, *, max_rows: int = MAX_ROWS, random_state: int = 0
    ) -> Self:
        """Principal components of both domains together; nothing is drawn yet.

        Parameters
        ----------
        Xs, Xt : array-like of shape (n_s, d), (n_t, d)
            Features, on the scale in which distances mean something.
        max_rows : int, default=2000
            Rows of a side that are shown; more are drawn at random.
        random_state : int, default=0

        Raises
        ------
        DataError
            If the widths differ, or there are fewer than three rows in all.
        """
        first, other = np.asarray(Xs, float), np.asarray(Xt, float)
        if first.ndim != 2 or other.ndim != 2 or first.shape[1] != other.shape[1]:
            raise DataError(
                f"shapes {first.shape} and {other.shape}",
                where="from_domains",
                why="both domains need the same features",
            )
        rng = np.random.default_rng(random_state)
        first, other = (_some(X, max_rows, rng) for X in (first, other))
        both = np.concatenate([first, other])
        if len(both) < 3:
            raise DataError(f"{len(both)} rows", where="from_domains", why="a map needs three")
        both = both - both.mean(axis=0)
        _, power, right = np.linalg.svd(both, full_matrices=False)
        at = both @ right[:2].T
        if at.shape[1] < 2:
            at = np.column_stack([at, np.zeros(len(at))])
        share = float((power[:2] ** 2).sum() / max((power**2).sum(), 1e-300))
        return cls(at[: len(first)], at[len(first) :], share)

    def plot(self, *, ax: Any = None, **scatter: Any) -> Self:
        """Draw; `scatter` goes to both calls of `Axes.scatter`."""
        ax = self._axes(ax)
        look = {"s": 14, "alpha": 0.7, "linewidths": 0, **scatter}
        ax.scatter(*self.source.T, color=SOURCE, marker="o", label="source", **look)
        ax.scatter(*self.target.T, color=TARGET, marker="D", label="target", **look)
        note = "" if self.explained is None else f" ({100 * self.explained:.0f} % of the variance)"
        ax.set(xlabel="first principal component", ylabel="second", title=f"PCA{note}")
        ax.legend(frameon=False)
        bare(ax)
        return self


def _some(X: Array, most: int, rng: np.random.Generator) -> Array:
    return X[np.sort(rng.choice(len(X), most, replace=False))] if len(X) > most else X
