"""Layer 8: ISX020: does the empty space behind a short text count?"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks.gap import relative_gap
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

EQUAL = 1e-2  # of the largest feature


def widened(items: Array, pad: int, more: int) -> Array:
    """Token ids (first row or all) and masks with `more` columns of padding at the end."""
    shape = (*items.shape[:-1], more)
    extra = np.zeros(shape, dtype=items.dtype)
    if items.ndim == 3:  # (n, rows, length): ids first, then masks
        extra[:, 0] = pad
    else:
        extra[...] = pad
    return np.concatenate([items, extra], axis=-1)


def find(view: ModelView) -> Iterable[Finding]:
    """The same texts with more padding behind them."""
    if view.modality != "text" or not view.custom:
        return
    probe = view.probe(3)
    if probe is None or probe[2].ndim not in (2, 3) or probe[2].dtype.kind not in "iu":
        return
    items = probe[2]
    pad = int(view.backbone.recipe.get("pad_id", 0))
    batch = view.filled(items)
    try:
        one = np.asarray(view.backbone(batch), dtype=np.float64)
        other = np.asarray(view.backbone(widened(batch, pad, items.shape[-1])), dtype=np.float64)
    except Exception:  # a fixed length cannot be widened: nothing can be said
        return
    gap = relative_gap(one, other)
    if gap > EQUAL:
        yield view.found(
            "ISX020",
            "error",
            "the features of a text depend on the padding behind it",
            f"with twice the length they differ by {gap:.1e} of the largest value",
            "Leave padding out of the attention and of the mean (use the mask)",
            difference=gap,
        )
