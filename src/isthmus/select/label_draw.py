"""Layer 6: what a few labelled target rows say of how often each class occurs.

Labels are mostly drawn by class, five of each, say. Held-out rows then reward whoever answers all
classes alike, where most rows are of one: seven occupations, of which one has two thirds, were
answered at 30 % by what scored best on five of each, at 73 % by what scored fourth.
"""

from __future__ import annotations

import numpy as np

from isthmus.types import Array

TRUST_SOURCE = 0.5  # of the source's shares, where the labels were drawn by class


def drawn_by_class(counts: Array) -> bool:
    """Whether more than half of the classes that occur have the largest number of labels.

    A draw at random rarely ends there; the others of a draw by class had no more rows to label.
    """
    seen = np.asarray(counts)[np.asarray(counts) > 0]
    return len(seen) > 1 and bool((seen == seen.max()).mean() > 0.5)


def row_weights(codes: Array, source: Array, n_classes: int) -> Array:
    """(n,) weight of each labelled target row in a score, 1 in the mean.

    Rows drawn at random stand for the target as they are. Rows drawn by class are weighed as if
    their classes occurred halfway between equally often and as in the source: the target's own
    shares are not known, and estimates of them from the unlabelled rows (docs/log.md) were worse
    where classes overlap.

    Parameters
    ----------
    codes : (n,) int array
        Classes of the labelled target rows.
    source : (n_s,) int array
        Classes of the source rows.
    n_classes : int
    """
    counts = np.bincount(codes, minlength=n_classes)
    if not drawn_by_class(counts):
        return np.ones(len(codes))
    shares = np.bincount(source, minlength=n_classes) / len(source)
    wanted = TRUST_SOURCE * shares + (1 - TRUST_SOURCE) / n_classes
    weights = (wanted / np.maximum(counts, 1))[codes]
    return np.asarray(weights / weights.mean())
