"""The rows of a training by what they are for: source, labelled target, target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.data.domains import domain_masks, source_domains, split_domains
from isthmus.fit.deep.rows import Rows
from isthmus.types import Array


@dataclass(frozen=True)
class Sides:
    """What is trained on.

    Parameters
    ----------
    source : Rows
        Labelled by positions in `classes`; where all labelled rows are the target's, those.
    known : Rows or None
        Labelled target rows beside a source.
    target : Rows or None
        Without labels: those that have none, or all of them where all have one.
    classes : ndarray
    source_is_target : bool
        Whether labelled target rows take the place of a source.
    """

    source: Rows
    known: Rows | None
    target: Rows | None
    classes: Array
    source_is_target: bool = False


def sides_of(
    X: Array,
    y: Array,
    sample_domain: Any = None,
    target_labeled: Any = None,
    *,
    augment: Callable[[Any], Any] | None = None,
    ids: Array | None = None,
) -> Sides:
    """Rows of both domains taken apart, see `isthmus.fit.finetune.FineTunedClassifier.fit`."""
    Xt = labelled = domains = None
    alone = known_only(sample_domain, target_labeled)
    ids = np.arange(len(X)) if ids is None else ids
    if sample_domain is None:
        Xs, ys, here = X, y, ids
    elif alone:
        marked = np.asarray(target_labeled, dtype=bool)
        unmarked = ~marked if not marked.all() else marked
        Xs, ys, here = X[marked], y[marked], ids[marked]
        Xt, there = X[unmarked], ids[unmarked]
    else:
        parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
        Xs, ys, Xt = parts.Xs, parts.ys, parts.Xt
        of_source = np.asarray(sample_domain) >= 0
        here, there = ids[of_source], ids[~of_source]
        domains = np.unique(source_domains(sample_domain), return_inverse=True)[1]
        if parts.labeled.any():
            labelled = (parts.Xt[parts.labeled], parts.yt, there[parts.labeled])
    classes = np.unique(ys if labelled is None else np.concatenate([ys, labelled[1]]))

    def rows(inputs: Array, labels: Array, ids: Array, domains: Array | None = None) -> Rows:
        return Rows(inputs, np.searchsorted(classes, labels), domains, transform=augment, ids=ids)

    return Sides(
        source=rows(Xs, ys, here, domains),
        known=None if labelled is None else rows(*labelled),
        target=None if Xt is None else Rows(Xt, transform=augment, ids=there),
        classes=classes,
        source_is_target=alone,
    )


def known_only(sample_domain: Any, target_labeled: Any) -> bool:
    """Whether all labelled rows are target rows: they take the place of a source."""
    if sample_domain is None or target_labeled is None or not np.any(target_labeled):
        return False
    return bool((np.asarray(sample_domain) < 0).all())


def readable_labels(y: Any, sample_domain: Any, target_labeled: Any) -> Any:
    """Labels with those that are not read made one of the others: None, NaN, anything may stand.

    Raises
    ------
    DataError
        If the marks of the rows have another length or type, or contradict one another.
    """
    if y is None or sample_domain is None:
        return y
    of_source, marked = domain_masks(sample_domain, len(y), target_labeled=target_labeled)
    read = of_source | marked
    if read.all() or not read.any():
        return y
    known = np.asarray([value for value, kept in zip(y, read, strict=True) if kept])
    whole = np.full(len(read), known[0], dtype=known.dtype)
    whole[read] = known
    return whole


def stacked_inputs(*parts: Any) -> Array:
    """Inputs of the rows that train, as one array."""
    return np.concatenate([np.asarray(rows.inputs) for rows in parts if rows is not None])
