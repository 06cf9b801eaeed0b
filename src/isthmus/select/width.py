"""Layer 6: in how many directions of both domains the candidates may work.

The leading ones hold nearly all that pretrained features say, and cost less. Nearly: classes can
also differ in directions of little spread, which only the labels of the source can tell. They are
asked by ridge regression, whose leave-one-out answers have a closed form.
"""

from __future__ import annotations

import logging

import numpy as np

from isthmus.fit.adapted import Space
from isthmus.fit.ridge_path import fit_ridge
from isthmus.types import Array

logger = logging.getLogger(__name__)

WIDTH = 256  # directions to begin with
MOST = 3000  # source rows that are asked
LOST = 0.01  # share of them that fewer directions may get wrong on top
SURE = 2.0  # standard errors by which that must be seen (McNemar)


def wide_enough(space: Space, codes: Array) -> Space:
    """The space in its leading directions: `WIDTH`, or twice as many until the classes are kept.

    Parameters
    ----------
    space : Space
    codes : (n_s,) int
        Classes of the source rows.
    """
    narrow, width, d = space.reduced(WIDTH), WIDTH, space.Xs.shape[1]
    if d <= WIDTH:
        return narrow
    asked = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), MOST)).astype(int))
    known = codes[asked]
    goal = answers(space.Xs[asked], known) == known
    while width < d:
        right = answers(narrow.Xs[asked], known) == known
        lost, won = int((goal & ~right).sum()), int((right & ~goal).sum())
        if lost - won <= max(LOST * len(known), SURE * (lost + won) ** 0.5):
            break
        width = min(2 * width, d)
        logger.info("%d of %d source rows need more directions: %d", lost - won, len(known), width)
        narrow = space.reduced(width)
    return narrow


def answers(X: Array, codes: Array) -> Array:
    """(n,) class that ridge regression without a row gives to it."""
    classes, own = np.unique(codes, return_inverse=True)
    found = fit_ridge(
        np.asarray(X, dtype=np.float64),
        np.eye(len(classes))[own],
        np.ones(len(X)),
        "cv",
        groups=None,
        strata=own,
        task="classification",
        random_state=0,
    )
    assert found.held_out is not None
    return np.asarray(classes[found.held_out.argmax(axis=1)])
