"""How far stated probabilities may be believed: the reliability table and its summary, the ECE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array

BINS = 15  # Guo et al. 2017


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, bin by bin.

    Parameters
    ----------
    edges : ndarray
        (b + 1,) ascending; bin i holds confidences in (edges[i], edges[i + 1]], the first also
        its lower edge.
    count : ndarray of int
        (b,) rows in each bin.
    confidence, accuracy : ndarray
        (b,) mean confidence and share of right answers; NaN in empty bins.
    codes : ndarray of int
        (n,) bin of each row.
    adaptive : bool
        Bins of equal count instead of equal width.
    """

    edges: Array
    count: Array
    confidence: Array
    accuracy: Array
    codes: Array
    adaptive: bool

    @property
    def ece(self) -> float:
        """Expected calibration error: sum of count / n * |accuracy - confidence|, in [0, 1]."""
        filled = self.count > 0
        gap = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((self.count[filled] * gap).sum() / self.count.sum())

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON form, one row a bin; an empty bin has None for its means."""
        bins = [
            {
                "low": float(self.edges[i]),
                "high": float(self.edges[i + 1]),
                "count": int(self.count[i]),
                "confidence": float(self.confidence[i]) if self.count[i] else None,
                "accuracy": float(self.accuracy[i]) if self.count[i] else None,
            }
            for i in range(len(self.count))
        ]
        return {"adaptive": self.adaptive, "bins": bins}


def reliability(
    confidence: Array, correct: Array, *, bins: int = BINS, adaptive: bool = False
) -> Reliability:
    """Group rows by stated confidence and compare with how often they were right.

    Parameters
    ----------
    confidence : array-like (n,)
        Probability of the answer that was given, in [0, 1].
    correct : array-like of bool (n,)
        Whether that answer was right.
    bins : int, default=15
        Number of bins (Guo et al. 2017).
    adaptive : bool, default=False
        False: equal width over [0, 1], as papers report the ECE. True: equal count (Nguyen &
        O'Connor 2015), which does not hide crowded regions; equal confidences stay together, so
        there may be fewer bins.

    Returns
    -------
    Reliability

    Raises
    ------
    DataError
        If lengths differ, there are no rows, or a confidence lies outside [0, 1].
    UsageError
        If `bins` is below 1.

    Examples
    --------
    >>> table = reliability([0.9, 0.9, 0.9, 0.9], [True, True, True, False], bins=10)
    >>> round(table.ece, 3)
    0.15
    """
    confidence = np.asarray(confidence, dtype=float)
    correct = np.asarray(correct, dtype=bool)
    if confidence.ndim != 1 or confidence.shape != correct.shape or confidence.size == 0:
        raise DataError(
            "confidences and outcomes do not match",
            where="reliability",
            why=f"shapes {confidence.shape} and {correct.shape}; one of each a row, 1 row or more",
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():  # also refuses NaN
        raise DataError("a confidence lies outside [0, 1]", where="reliability")
    if bins < 1:
        raise UsageError(f"{bins} bins", where="bins", remedy="Give 1 or more")
    if adaptive:
        inner = np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf")
        upper = np.unique(np.append(inner, confidence.max()))
        edges = np.concatenate([[confidence.min()], upper])
    else:
        edges = np.arange(bins + 1) / bins
    codes = np.searchsorted(edges[1:-1], confidence, side="left")
    size = len(edges) - 1
    count = np.bincount(codes, minlength=size)
    mean = np.full((2, size), np.nan)
    for i, values in enumerate((confidence, correct.astype(float))):
        np.divide(np.bincount(codes, values, size), count, out=mean[i], where=count > 0)
    return Reliability(edges, count, mean[0], mean[1], codes, adaptive)
