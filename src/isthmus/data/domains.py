"""Layer 1: the only place that knows the sample_domain rule.

Rows with ``sample_domain >= 0`` are source rows, rows with ``sample_domain < 0`` are target rows
(as in skada). ``y`` of a target row counts only where ``target_labeled`` is True; elsewhere it is
a placeholder that nothing may read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from isthmus.errors import DataError
from isthmus.types import Array

SOURCE, TARGET = 0, -1
RULE = "source rows have sample_domain >= 0, target rows have sample_domain < 0"


class Domains(NamedTuple):
    """The two sides of stacked arrays; every array is a copy.

    Parameters
    ----------
    Xs, ys : ndarray of shape (n_s, ...), (n_s,) or (n_s, k)
        Source rows and their labels, in the order in which they came.
    Xt : ndarray of shape (n_t, ...)
        Target rows.
    labeled : ndarray of shape (n_t,), bool
        Which rows of `Xt` carry a label.
    yt : ndarray of shape (labeled.sum(),) or (labeled.sum(), k)
        The labels of ``Xt[labeled]``, and of no other row.
    """

    Xs: Array
    ys: Array
    Xt: Array
    labeled: Array
    yt: Array


def stack_domains(Xs: Any, ys: Any, Xt: Any, yt: Any = None) -> tuple[Array, Array, Array, Array]:
    """One set of arrays for ``fit(X, y, sample_domain=..., target_labeled=...)``.

    Parameters
    ----------
    Xs : array-like of shape (n_s, ...)
        Source rows.
    ys : array-like of shape (n_s,) or (n_s, k)
        Their labels, each one present.
    Xt : array-like of shape (n_t, ...)
        Target rows, as wide as `Xs`.
    yt : array-like of shape (n_t,) or (n_t, k), optional
        Target labels; None or NaN = that row is unlabelled. No number or name stands for
        "unlabelled": -1 is a class like any other.

    Returns
    -------
    X : ndarray of shape (n_s + n_t, ...)
    y : ndarray of shape (n_s + n_t,) or (n_s + n_t, k)
        Unlabelled target rows hold a copy of the first source label, so that the type of `y`
        stays what it was; `target_labeled` says that it is none.
    sample_domain : ndarray of shape (n_s + n_t,), int64
        0 on source rows, -1 on target rows.
    target_labeled : ndarray of shape (n_s + n_t,), bool
        True on target rows with a label of their own.

    Raises
    ------
    DataError
        If one side is empty, widths or lengths differ, a source label is missing, or source and
        target labels are of different kinds (numbers and names).
    """
    Xs, Xt, ys = np.asarray(Xs), np.asarray(Xt), np.asarray(ys)
    _both_sides(len(Xs) if Xs.ndim else 0, len(Xt) if Xt.ndim else 0)
    if Xs.shape[1:] != Xt.shape[1:]:
        raise DataError(
            f"source rows have shape {Xs.shape[1:]}, target rows {Xt.shape[1:]}",
            why="one matrix cannot hold both",
            remedy="Use the same columns on both sides",
        )
    if ys.ndim == 0 or len(ys) != len(Xs):
        raise DataError(f"{np.size(ys)} source labels for {len(Xs)} source rows")
    if _missing(ys).any():
        raise DataError(
            f"{int(_missing(ys).sum())} of {len(ys)} source rows have no label",
            remedy="Leave them out, or give them as target rows",
        )
    fill = np.empty((len(Xt), *ys.shape[1:]), dtype=ys.dtype)
    fill[...] = ys[0]
    labeled = np.zeros(len(Xt), dtype=bool)
    if yt is not None:
        yt = np.asarray(yt)
        if yt.shape != fill.shape:
            raise DataError(
                f"target labels have shape {yt.shape}, expected {fill.shape}",
                why=f"{len(Xt)} target rows",
                remedy="Use None or NaN for target rows without a label",
            )
        labeled = ~_missing(yt)
        _same_kind(ys, yt[labeled])
        if labeled.any():
            known = yt[labeled]
            if known.dtype.kind == "f" and ys.dtype.kind in "iu" and (known % 1 == 0).all():
                known = known.astype(ys.dtype)  # NaN for "unlabelled" made whole labels floats
            fill = fill.astype(_common(ys, known))
            fill[labeled] = known
    X = np.concatenate([Xs, Xt])
    y = np.concatenate([ys.astype(fill.dtype), fill])
    sample_domain = np.repeat(np.array([SOURCE, TARGET], dtype=np.int64), [len(Xs), len(Xt)])
    return X, y, sample_domain, np.concatenate([np.zeros(len(Xs), dtype=bool), labeled])


def split_domains(
    X: Any,
    y: Any,
    sample_domain: Any,
    *,
    target_labeled: Any = None,
    source_needed: bool = True,
) -> Domains:
    """Stacked arrays -> source and target; the arguments are never modified.

    Parameters
    ----------
    X : array-like of shape (n, ...)
        NumPy array, SciPy sparse matrix or anything that NumPy can read.
    y : array-like of shape (n,) or (n, k)
        Read on source rows and, where `target_labeled` says so, on target rows; nowhere else.
    sample_domain : array-like of shape (n,), int
        ``>= 0`` source, ``< 0`` target.
    target_labeled : array-like of shape (n,), bool, optional
        Target rows whose label may be used; None = no target row has one.
    source_needed : bool, default=True
        False for a method that already holds what it needs of the source (a model, statistics):
        then there may be no source row.

    Returns
    -------
    Domains

    Raises
    ------
    DataError
        If a length or type is wrong, one side is empty, or `target_labeled` marks a source row.
    """
    if not hasattr(X, "tocsr"):
        X = np.asarray(X)
    elif X.format not in ("csr", "csc"):
        X = X.tocsr()  # the other sparse formats cannot be indexed by rows
    y = np.asarray(y)
    if X.ndim == 0 or y.ndim == 0:
        raise DataError("X and y must be arrays with one entry per row")
    n = X.shape[0]
    source, marked = domain_masks(sample_domain, n, target_labeled=target_labeled)
    if len(y) != n:
        raise DataError(f"{len(y)} labels for {n} rows")
    if source_needed or source.all():
        _both_sides(int(source.sum()), int(n - source.sum()))
    return Domains(
        Xs=X[source],
        ys=y[source],
        Xt=X[~source],
        labeled=marked[~source],
        yt=y[marked],
    )


def domain_masks(sample_domain: Any, n: int, *, target_labeled: Any = None) -> tuple[Array, Array]:
    """Which rows are source rows, and which are target rows with a label: two (n,) bool arrays.

    Raises
    ------
    DataError
        If a length or type is wrong, or `target_labeled` marks a source row.
    """
    source = _domain_mask(sample_domain, n)
    marked = np.zeros(n, dtype=bool)
    if target_labeled is not None:
        marked = np.asarray(target_labeled)
        if marked.shape != (n,) or marked.dtype != bool:
            raise DataError(
                f"target_labeled is {marked.dtype} of shape {marked.shape}",
                why=f"one boolean for each of the {n} rows is needed",
            )
        if (marked & source).any():
            raise DataError(
                f"target_labeled marks {int((marked & source).sum())} source rows", why=RULE
            )
    return source, marked


def source_domains(sample_domain: Any) -> Array:
    """(n_s,) ids of the source domains, in the order of `Domains.Xs`: 0, 1, 2, ...

    Raises
    ------
    DataError
        If `sample_domain` is missing or does not hold integers.
    """
    domain = np.asarray(sample_domain)
    return np.array(domain[_domain_mask(sample_domain, domain.size)])


def _domain_mask(sample_domain: Any, n: int) -> Array:
    """(n,) bool, True on source rows."""
    if sample_domain is None:
        raise DataError(
            "sample_domain is missing",
            why=RULE,
            remedy="Build it with stack_domains(Xs, ys, Xt)",
        )
    domain = np.asarray(sample_domain)
    if domain.shape != (n,):
        raise DataError(f"sample_domain has shape {domain.shape}, expected ({n},)", why=RULE)
    if domain.dtype.kind not in "iu":
        raise DataError(
            f"sample_domain holds {domain.dtype} values, not integers",
            why=RULE,
            remedy="Build it with stack_domains(Xs, ys, Xt)",
        )
    return np.array(domain >= 0, dtype=bool)


def _both_sides(sources: int, targets: int) -> None:
    if sources < 1 or targets < 1:
        raise DataError(
            f"{sources} source rows and {targets} target rows",
            why=f"both sides are needed; {RULE}",
            remedy="Build the arrays with stack_domains(Xs, ys, Xt)",
        )


def _missing(y: Array) -> Array:
    """(n,) bool: rows without a label; of several columns one missing value is enough."""
    if y.dtype.kind == "f":
        gone = np.isnan(y)
    elif y.dtype == object:
        flat = [v is None or (isinstance(v, (float, np.floating)) and v != v) for v in y.ravel()]
        gone = np.array(flat, dtype=bool).reshape(y.shape)
    else:
        gone = np.zeros(y.shape, dtype=bool)
    return np.asarray(np.any(gone.reshape(len(y), -1), axis=1))


def _kinds(y: Array) -> set[str]:
    if y.dtype == object:
        return {"names" if isinstance(v, (str, bytes)) else "numbers" for v in y.ravel()}
    return {"names" if y.dtype.kind in "USTV" else "numbers"} if y.size else set()


def _same_kind(ys: Array, yt: Array) -> None:
    """NumPy would turn 1 into "1" without a word when it joins numbers and names."""
    if len(kinds := _kinds(ys) | _kinds(yt)) > 1:
        raise DataError(
            "source and target labels are of different kinds",
            why=" and ".join(sorted(kinds)),
            remedy="Write both as names, or both as numbers",
        )


def _common(ys: Array, yt: Array) -> Any:
    if object in (ys.dtype, yt.dtype):
        return np.dtype(object)
    return np.result_type(ys.dtype, yt.dtype)
