"""Which rows early stopping watches: they leave the training."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from isthmus.fit.deep.rows import Rows

SHARE, LEAST = 0.2, 10  # of the labelled target rows; with fewer than these, of the source rows


def hold_out(
    source: Rows | None, known: Rows | None, *, seed: int
) -> tuple[Rows | None, Rows | None, Rows]:
    """Source rows and labelled target rows without the held-out ones, and those.

    Parameters
    ----------
    source, known : Rows or None
        One of them at least, with class positions for labels.
    """
    of_target = known is not None and (len(known) >= LEAST or source is None)
    rows = known if of_target else source
    assert rows is not None and rows.labels is not None
    counts = np.bincount(rows.labels)
    apart = rows.labels if counts[counts > 0].min() >= 2 else None
    size = max(int(SHARE * len(rows)), int((counts > 0).sum()) if apart is not None else 1)
    train, held = train_test_split(
        np.arange(len(rows)), test_size=size, stratify=apart, random_state=seed
    )
    held_out, rest = rows.take(np.sort(held)), rows.take(np.sort(train))
    return (source, rest, held_out) if of_target else (rest, known, held_out)
