"""Layer 8: how far two arrays of features are from each other. Not a check."""

from __future__ import annotations

import numpy as np

from isthmus.types import Array

EQUAL = 1e-4  # of the largest value, as for the audit of the store


def relative_gap(one: Array, other: Array) -> float:
    """Largest difference in units of the first array's largest value; infinite across shapes.

    >>> relative_gap(np.array([1.0, -2.0]), np.array([1.0, -1.0]))
    0.5
    """
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return float("inf")
    scale = max(float(np.abs(np.nan_to_num(one)).max(initial=0)), 1e-12)
    return float(np.abs(np.nan_to_num(one) - np.nan_to_num(other)).max(initial=0)) / scale
