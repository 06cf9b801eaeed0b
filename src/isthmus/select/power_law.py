"""Layer 6: an inverse power law through a learning curve, fitted to many draws of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from isthmus.types import Array

EXPONENTS = np.geomspace(0.1, 1.0, 8)
OFFSETS = (1.0, 8.0, 64.0)  # rows that other knowledge (a source) is worth: a late, flat start


@dataclass(frozen=True)
class Laws:
    """``score(n) = a - b (n / m + 1)^-c``, one law a draw.

    Parameters
    ----------
    a, b, c, m : ndarray of shape (k,)
        a at most the upper limit of the score; b at least 0, so no law ever falls; a - b is the
        score without any row.
    """

    a: Array
    b: Array
    c: Array
    m: Array

    def at(self, n: float) -> Array:
        """(k,) scores at n rows."""
        return np.asarray(self.a - self.b * (n / self.m + 1.0) ** -self.c)


def fit_laws(sizes: Array, curves: Array, *, upper: float = 1.0) -> Laws:
    """Least squares for each curve over a grid of exponents and offsets.

    For given c and m the law is linear in a and b and their limits are met in closed form, so a
    few hundred curves cost a few milliseconds.

    Parameters
    ----------
    sizes : ndarray of shape (s,), s >= 3
        Rows learned from.
    curves : ndarray of shape (k, s)
        Scores; higher is better.
    upper : float, default=1.0
        Highest possible score: 1 for shares, 0 for negative errors.
    """
    sizes, curves = np.asarray(sizes, dtype=float), np.asarray(curves, dtype=float)
    k = len(curves)
    least = np.full(k, np.inf)
    best = np.zeros((4, k))
    mean = curves.mean(axis=1)
    for c, m in product(EXPONENTS, OFFSETS):
        x = (sizes / m + 1.0) ** -c
        centred = x - x.mean()
        b = np.maximum(-(curves @ centred) / (centred @ centred), 0.0)
        a = mean + b * x.mean()
        high = a > upper
        b = np.where(high, np.maximum((upper - curves) @ x / (x @ x), 0.0), b)
        a = np.minimum(a, upper)
        misfit = np.sum((curves - a[:, None] + b[:, None] * x) ** 2, axis=1)
        better = misfit < least
        least[better] = misfit[better]
        best[:, better] = np.stack([a, b, np.full(k, c), np.full(k, m)])[:, better]
    return Laws(*best)
