"""Layer 8: ISX011, ISX012, ISX013: a custom network must be frozen, deterministic, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.run.checks.gap import EQUAL, relative_gap
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

_EVAL = "Put the network into eval mode before you hand it over, without augmentation"


def find(view: ModelView) -> Iterable[Finding]:
    """Call the backbone a few times on the same items in other company."""
    if not view.by_items or not view.custom:
        return  # the leaves of this package are exported in eval mode and tested for this
    probe = view.probe()
    if probe is None:
        return
    items = probe[2]
    first, others = items[:1], items[1:]
    batch = view.filled(items)
    lonely = view.filled(np.concatenate([first, others[:1]]))
    before = _states(view)
    one = _call(view, batch)
    two = _call(view, batch)
    elsewhere = _call(view, lonely)
    again = _call(view, batch)
    moved = [name for name, value in _states(view).items() if before.get(name) != value]
    random, later = relative_gap(one, two), relative_gap(one, again)
    if moved or (random <= EQUAL < later):
        yield view.found(
            "ISX011",
            "error",
            "the network changes while features are computed",
            f"{len(moved)} of its tensors differ after four batches, first {moved[0]!r}"
            if moved
            else f"the same batch gives other features later, by {later:.1e} of the largest value",
            "Freeze it: in eval mode BatchNorm keeps the statistics as they were trained",
        )
    elif random > EQUAL:
        yield view.found(
            "ISX013",
            "error",
            "the same items give other features each time",
            f"two calls in a row differ by {random:.1e} of the largest value: dropout or "
            "augmentation is on",
            _EVAL,
        )
    company = relative_gap(one[:1], elsewhere[:1])
    if company > EQUAL and random <= EQUAL:
        yield view.found(
            "ISX012",
            "error",
            "a row's features depend on the other rows of its batch",
            f"the same item differs by {company:.1e} of the largest value beside other items",
            _EVAL,
        )


def _call(view: ModelView, batch: Array) -> Array:
    return np.asarray(view.backbone(batch), dtype=np.float64)


def _states(view: ModelView) -> dict[str, Any]:
    """Bytes of every tensor of the networks inside, by name."""
    if hasattr(view.backbone, "build"):
        return {}  # it runs a frozen, compiled copy, which was compared when it was made
    return {
        f"{index}.{name}": hash(value.detach().cpu().numpy().tobytes())
        for index, module in enumerate(view.modules())
        for name, value in module.state_dict().items()
    }
