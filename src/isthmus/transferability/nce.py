"""Negative conditional entropy (Tran et al. 2019): what source labels tell of target labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.transferability.base import check_labels, to_numpy
from isthmus.types import Array


def nce(source_labels: Any, labels: Any) -> float:
    """``-H(Y | Z)`` in nats of the target labels given the source labels of the same rows.

    Parameters
    ----------
    source_labels : array of shape (n,)
        Labels Z in the source task: known ones, or a source model's predictions.
    labels : array of shape (n,)
        Target classes Y.

    Returns
    -------
    float
        At most 0, higher is better; 0 where Z determines Y.

    Raises
    ------
    DataError
        If there are no rows, lengths differ, or a label is missing.

    Examples
    --------
    >>> nce(["cat", "cat", "dog"], [0, 0, 1])
    0.0
    """
    rows = len(to_numpy(labels))
    if rows == 0:
        raise DataError("no rows", where="nce")
    counts = contingency(
        check_labels(source_labels, rows, who="nce"), check_labels(labels, rows, who="nce")
    )
    joint = counts / rows
    given = counts / counts.sum(axis=1, keepdims=True)
    # 0 log 0 = 0; "+ 0.0" turns -0.0 into 0.0
    logs = np.log(given, out=np.zeros_like(given), where=given > 0)
    return float((joint * logs).sum()) + 0.0


def contingency(first: Array, second: Array) -> Array:
    """(k_first, k_second) counts of pairs of labels."""
    a, rows = np.unique(first, return_inverse=True)
    b, columns = np.unique(second, return_inverse=True)
    return np.bincount(rows * len(b) + columns, minlength=len(a) * len(b)).reshape(len(a), -1)
