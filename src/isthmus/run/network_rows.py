"""Layer 8: the rows of a case as arrays that a network is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.backbone.trained import to_length
from isthmus.data.samples import Samples
from isthmus.errors import DataError, IsthmusError
from isthmus.run.extract import Extracted
from isthmus.types import Array

Progress = Callable[[str, int, int], None]
TRAINABLE = ("image", "text", "audio")  # modalities whose backbones are networks
ROLES = ("source", "labelled", "target")
MAX_BYTES = 4 << 30  # of decoded rows that are held in memory


@dataclass(frozen=True)
class TrainingRows:
    """All rows that are trained on, in one array.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
        Features, pixels, token ids with their mask, or waveforms.
    y : ndarray of shape (n,), str
        ``""`` on target rows, whose labels are nobody's business here.
    sample_domain : ndarray of shape (n,), int
        0, 1, ... for the sources, -1 for the target.
    target_labeled : ndarray of shape (n,), bool
    ids : ndarray of shape (n,), object
        What the data call the rows.
    length : int or None
        Samples of every waveform.
    """

    X: Array
    y: Array
    sample_domain: Array
    target_labeled: Array
    ids: Array
    length: int | None = None


def feature_rows(features: Extracted) -> TrainingRows:
    """The features themselves."""
    parts = {}
    for role in ROLES:
        part = getattr(features, role)
        if part is not None:
            parts[role] = (part.samples, np.asarray(part.X, dtype=np.float32))
    return _stacked(parts)


def raw_rows(features: Extracted, backbone: Any, progress: Progress | None = None) -> TrainingRows:
    """What the backbone's network takes: decoded anew, from the rows that have features.

    Raises
    ------
    DataError
        If they do not fit into memory.
    """
    made: dict[str, tuple[Samples, list[Array]]] = {}
    total = 0
    for role in ROLES:
        part = getattr(features, role)
        if part is None:
            continue
        samples, items, good = part.samples, [], []
        for row in range(len(samples)):
            try:
                item = np.asarray(backbone.preprocess(samples.items[row]))
            except IsthmusError:  # it was readable a moment ago; `extract` answers for bad rows
                continue
            items.append(item)
            good.append(row)
            total += item.nbytes
            if total > MAX_BYTES:
                raise DataError(
                    "the decoded rows do not fit into memory",
                    where=samples.origin,
                    why=f"more than {MAX_BYTES >> 30} GiB after {row + 1} of the {role} rows",
                    remedy="Train on features (--on features), or give fewer rows",
                )
            if progress is not None:
                progress(role, row + 1, len(samples))
        if not items:
            raise DataError(f"no row of the {role} could be read", where=samples.origin)
        made[role] = (samples.take(np.array(good)), items)
    longest = max(item.shape[-1] for _, items in made.values() for item in items)
    kind = backbone.modality
    parts = {}
    for role, (samples, items) in made.items():
        if kind == "text":
            Z = _padded(items, longest, backbone)
        else:
            Z = np.stack([to_length(x, longest) for x in items] if kind == "audio" else items)
        parts[role] = (samples, Z)
    return _stacked(parts, longest if kind == "audio" else None)


def _padded(items: list[Array], longest: int, backbone: Any) -> Array:
    """(n, 2, longest) token ids and mask."""
    out = np.zeros((len(items), 2, longest), dtype=np.int64)
    out[:, 0] = int(backbone.recipe["pad_id"])
    for row, item in enumerate(items):
        out[row, :, : item.shape[1]] = item
    return out


def _stacked(parts: dict[str, tuple[Samples, Array]], length: int | None = None) -> TrainingRows:
    X, y, domain, marked, named = [], [], [], [], []
    for role, (samples, Z) in parts.items():
        X.append(Z)
        fill = np.full(len(Z), "", dtype=object)
        y.append(fill if role == "target" else np.asarray(samples.labels, dtype=object))
        numbers = np.full(len(Z), -1)
        if role == "source":
            numbers = np.zeros(len(Z), dtype=np.int64)
            if samples.domain is not None:
                numbers = np.unique(samples.domain.astype(str), return_inverse=True)[1]
        domain.append(numbers)
        named.append(np.asarray(samples.ids, dtype=object))
        marked.append(np.full(len(Z), role == "labelled"))
    return TrainingRows(
        np.concatenate(X),
        np.concatenate(y).astype(str),
        np.concatenate(domain).astype(np.int64),
        np.concatenate(marked),
        np.concatenate(named),
        length,
    )
