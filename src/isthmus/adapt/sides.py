"""Layer 4: what estimators with labelled target rows share: checked sides, codes, folds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.adapt.base import check_domains
from isthmus.adapt.density import sorting
from isthmus.data.domains import source_domains, split_domains
from isthmus.errors import DataError, plain_repr
from isthmus.types import Array


@dataclass(frozen=True)
class Sides:
    """Both domains of one call of `fit`, checked.

    Parameters
    ----------
    Xs, ys, sources : ndarray of shape (n_s, d), (n_s,), (n_s,)
        Source rows, labels and the id of each row's domain; no rows where a given model stands in.
    Xt : ndarray of shape (n_t, d)
    labeled : ndarray of shape (n_t,), bool
    yt : ndarray of shape (labeled.sum(),)
        Labels of ``Xt[labeled]``.
    """

    Xs: Array
    ys: Array
    sources: Array
    Xt: Array
    labeled: Array
    yt: Array

    @property
    def Xl(self) -> Array:
        """(n_l, d) labelled target rows."""
        return self.Xt[self.labeled]


def sides(
    X: Any,
    y: Any,
    sample_domain: Any,
    target_labeled: Any,
    *,
    who: str,
    source_needed: bool = True,
    labels_needed: bool = True,
) -> Sides:
    """Split and check the arguments of `fit`.

    Parameters
    ----------
    who : str
        Name of the method, for messages.
    source_needed : bool
        False where a model or statistics of the source were given.
    labels_needed : bool
        Whether at least one target row must be labelled.

    Raises
    ------
    DataError
        If a side is empty, a value or a label is missing, or no target row is labelled.
    """
    parts = split_domains(
        X, y, sample_domain, target_labeled=target_labeled, source_needed=source_needed
    )
    some = len(parts.Xs) > 0
    # without source rows the target stands in: only its own rows are checked then
    given = check_domains(
        parts.Xs if some else parts.Xt[:1], parts.ys if some else None, parts.Xt, who=who
    )
    if labels_needed and not parts.labeled.any():
        raise DataError(
            f"none of {len(parts.Xt)} target rows is labelled",
            where=who,
            remedy="Pass target_labeled, or use a method for unlabelled targets",
        )
    for name, labels in (("source", parts.ys), ("target", parts.yt)):
        if labels.ndim != 1:
            raise DataError(f"{name} labels of shape {labels.shape}", where=who, why="one a row")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise DataError(f"{int(np.isnan(labels).sum())} {name} labels are NaN", where=who)
        if labels.dtype == object and any(v is None or v != v for v in labels):
            raise DataError(f"a {name} label is missing", where=who)
    return Sides(
        Xs=given.Xs if some else parts.Xs,
        ys=parts.ys,
        sources=source_domains(sample_domain),
        Xt=given.Xt,
        labeled=parts.labeled,
        yt=parts.yt,
    )


def two_classes(labels: Array, who: str, side: str = "source") -> tuple[Array, Array]:
    """Classes and codes of labels.

    Raises
    ------
    DataError
        If there are fewer than two classes.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        found = f"the {side} rows have one class" if len(classes) else f"no {side} row has a label"
        raise DataError(found, where=who, remedy="Give rows of at least two classes")
    return classes, codes


def codes_of(labels: Array, classes: Array, who: str) -> Array:
    """(n,) positions of target labels among the classes of the source.

    Raises
    ------
    DataError
        If a label is none of them.
    """
    place = {name: i for i, name in enumerate(classes.tolist())}
    out = np.array([place.get(name, -1) for name in labels.tolist()], dtype=np.int64)
    if (out < 0).any():
        raise DataError(
            f"target label {plain_repr(labels[out < 0][0])} is no class of the source",
            where=who,
            remedy="Leave those rows out, or use ClassRelationship for other sets of classes",
        )
    return out


def deal(X: Array, codes: Array, folds: int, seed: int) -> Array:
    """(n,) fold of each row: classes dealt out evenly, whatever the order the rows came in."""
    order = sorting(X, codes)
    rng = np.random.default_rng(seed)
    out, turn = np.empty(len(X), dtype=np.int64), 0
    for code in np.unique(codes):
        rows = rng.permutation(order[codes[order] == code])
        out[rows] = (np.arange(len(rows)) + turn) % folds
        turn += len(rows)  # small classes do not all begin with the first fold
    return out


def quiet_fit(model: Any, *args: Any, **kwargs: Any) -> bool:
    """Fit a scikit-learn model in place; False where its solver says that it did not converge."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(*args, **kwargs)
    fine = True
    for item in caught:
        if issubclass(item.category, ConvergenceWarning):
            fine = False
        else:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    return fine


def softmax(scores: Array) -> Array:
    """Row-wise softmax of (n, K)."""
    out = np.exp(scores - scores.max(axis=1, keepdims=True))
    out /= out.sum(axis=1, keepdims=True)
    return out
