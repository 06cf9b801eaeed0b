"""Layer 6: source classes that the target lacks, and what their rows are worth then.

The weights are served by thinning: a class that is worth a tenth keeps a tenth of its rows, drawn
at random. So every candidate and every method follows them, those that know no weights too (maps,
covariances, transport plans), and each head's own prior falls with the share of the class: what is
estimated absent stays possible, and is believed less.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from isthmus.types import Array

FULL = 0.75  # quantile over classes of the ratios: what a class that is there has at least
ABSENT = 0.3  # of that, below which a class is estimated absent
HALVED = 0.5  # further factor of its rows: the ratio of a class that is gone is never 0
FEWEST = 2  # rows of a class that stay


@dataclass(frozen=True)
class Absent:
    """Which classes the target seems to lack.

    Parameters
    ----------
    ratio : ndarray of shape (K,)
        Estimated share of the class in the target over its share of the source, 1 at most, in
        units of the classes that are there.
    weights : ndarray of shape (K,)
        What a source row of each class is worth: 1, or less where it is estimated absent.
    absent : tuple of int
    share : float
        Share of the source rows that are of these classes.
    """

    ratio: Array
    weights: Array
    absent: tuple[int, ...]
    share: float


def absent_classes(proba: Array, codes: Array, *, present: Collection[int] = ()) -> Absent:
    """Weights of the source's classes from what a model says of the target rows.

    As in partial adversarial adaptation (Cao et al., ECCV 2018, equation 3) a class is worth its
    mean probability over the target rows; but over the share that the source gives it, and only
    below a threshold. Weights that follow the ratio everywhere cost up to 4 points where no class
    was missing, on twelve pairs of domains, since the ratio of a class that is there varies.

    Parameters
    ----------
    proba : ndarray of shape (n_t, K)
    codes : ndarray of shape (n_s,), int
        Classes of the source rows.
    present : collection of int
        Classes that labelled target rows show to be there.
    """
    K = proba.shape[1]
    prior = np.bincount(codes, minlength=K) / len(codes)
    known = prior > 0
    ratio = np.ones(K)
    ratio[known] = proba.mean(axis=0)[known] / prior[known]
    ratio = np.minimum(1.0, ratio / max(float(np.quantile(ratio[known], FULL)), 1e-12))
    ratio[~known] = 1.0
    gone = known & (ratio < ABSENT)
    gone[list(present)] = False
    weights = np.where(gone, HALVED * ratio, 1.0)
    return Absent(
        ratio, weights, tuple(int(c) for c in np.flatnonzero(gone)), float(prior[gone].sum())
    )


def thinned(codes: Array, weights: Array, *, random_state: int = 0) -> Array:
    """Positions of the rows that stay, in rising order.

    Parameters
    ----------
    codes : ndarray of shape (n,), int
    weights : ndarray of shape (K,)
        Share of each class that stays; of every class at least two rows do.
    """
    rng = np.random.default_rng(random_state)
    kept = []
    for c in np.unique(codes):
        rows = np.flatnonzero(codes == c)
        few = max(min(FEWEST, len(rows)), round(float(weights[c]) * len(rows)))
        kept.append(rows if few >= len(rows) else rng.permutation(rows)[:few])
    return np.sort(np.concatenate(kept))
