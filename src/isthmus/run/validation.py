"""Layer 8: rows of a validation split are watched while a network trains, and not trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.backbone.trained import to_length
from isthmus.run.extract import Extracted, Part
from isthmus.run.network_rows import raw_rows
from isthmus.types import Array

SPLIT = "val"  # what `isthmus.data.paths` calls val, valid, validation and dev


def apart(features: Extracted) -> tuple[Extracted, Part | None]:
    """The case without its validation rows, and those rows.

    Of the labelled target rows where they have such a split, else of the source. A split that
    would leave nothing to train on is none.
    """
    for role in ("labelled", "source"):
        part: Part | None = getattr(features, role)
        if part is None or part.samples.split is None:
            continue
        held = np.array([name == SPLIT for name in part.samples.split])
        if held.any() and not held.all():
            rest: dict[str, Any] = {role: part.take(np.flatnonzero(~held))}
            return replace(features, **rest), part.take(np.flatnonzero(held))
    return features, None


def labelled_rows(
    part: Part, features: Extracted, backbone: Any = None, *, length: int | None = None
) -> tuple[Array, Array]:
    """A part's rows as the network takes them, and their labels.

    Parameters
    ----------
    backbone : Backbone, optional
        Whose network is trained: rows are what it takes. None: rows are features.
    length : int, optional
        Samples of every recording.
    """
    labels = np.asarray(part.samples.labels).astype(str)
    if backbone is None:
        return np.asarray(part.X, dtype=np.float32), labels
    X = raw_rows(replace(features, source=None, labelled=None, target=part), backbone).X
    return (X if length is None else np.stack([to_length(x, length) for x in X])), labels
