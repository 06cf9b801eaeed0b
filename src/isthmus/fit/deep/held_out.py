"""Which rows early stopping watches: they leave the training."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from isthmus.errors import DataError
from isthmus.fit.deep.rows import Rows

SHARE, LEAST = 0.2, 10  # of the labelled target rows; with fewer than these, of the source rows


def hold_out(
    source: Rows | None, known: Rows | None, *, seed: int
) -> tuple[Rows | None, Rows | None, Rows]:
    """Source rows and labelled target rows without the held-out ones, and those.

    Classes of a single row are trained and not held out.

    Parameters
    ----------
    source, known : Rows or None
        One of them at least, with class positions for labels.

    Raises
    ------
    DataError
        If each class has a single row.
    """
    of_target = known is not None and (len(known) >= LEAST or source is None)
    rows = known if of_target else source
    assert rows is not None and rows.labels is not None
    counts = np.bincount(rows.labels)
    spare = np.flatnonzero(counts[rows.labels] >= 2)  # a class of one row must be trained
    if not len(spare):
        raise DataError(
            f"no row can be held out of {len(rows)}",
            why="each class has one labelled row",
            remedy="Label more rows, or leave early stopping (patience) out",
        )
    apart = rows.labels[spare]
    size = max(int(SHARE * len(rows)), len(np.unique(apart)))
    _, held = train_test_split(
        spare, test_size=min(size, len(spare) - len(np.unique(apart))), stratify=apart,
        random_state=seed,
    )  # fmt: skip
    held = np.sort(held)
    held_out, rest = rows.take(held), rows.take(np.setdiff1d(np.arange(len(rows)), held))
    return (source, rest, held_out) if of_target else (rest, known, held_out)
