"""Layer 5: leak-free cross-validation folds for every task: stratified, grouped, repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Task

_BINS = 10  # regression targets are stratified by at most this many quantile bins when grouped

Fold = tuple[Array, Array]


def folds(
    y: Any,
    *,
    task: Task,
    groups: Any = None,
    n_splits: int = 5,
    n_repeats: int = 1,
    random_state: int = 0,
) -> list[Fold]:
    """Split rows into training and test parts that share no group.

    Rules, stated once:

    - Each row is a test row exactly once per repeat.
    - With `groups`, all rows of a group are in the same test part.
    - Classification is stratified. A class with fewer members than splits is dealt to as many
      different folds as it has members, so without groups every class of two or more rows is in
      every training part; a class of one row is absent from training while that row is tested.
      With groups the same holds only as far as whole groups allow (a class that lives in one
      group is absent when that group is tested).
    - Multi-label columns are balanced from the rarest to the commonest [1]_; regression targets
      are balanced by rank.
    - The number of splits shrinks to the number of rows or groups where there are fewer.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, k)
        Class names or codes; numbers for regression; bool columns for multi-label.
    task : {"classification", "multilabel", "regression"}
    groups : array-like of shape (n,), optional
        Patient, speaker, burst: what must never be on both sides.
    n_splits : int, default=5
        Wanted number of folds.
    n_repeats : int, default=1
        How often the whole deal is repeated with other random draws.
    random_state : int, default=0

    Returns
    -------
    list of (train, test)
        ``n_splits * n_repeats`` pairs of ascending int positions, repeat by repeat.

    Raises
    ------
    DataError
        Fewer than two rows or groups, missing labels, or lengths that differ.
    UsageError
        `n_splits` below 2, `n_repeats` below 1 or an unknown task.

    References
    ----------
    .. [1] Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", 2011.
    """
    if n_splits < 2 or n_repeats < 1:
        raise UsageError(f"n_splits={n_splits}, n_repeats={n_repeats} cannot make folds")
    strata = _strata(y, task)
    n = len(strata)
    if n < 2:
        raise DataError(f"{n} rows cannot be split", remedy="Give at least two rows")
    codes = None
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (n,):
            raise DataError(f"groups of shape {groups.shape} for {n} rows")
        _, codes = np.unique(groups.astype(str), return_inverse=True)
        if codes.max() == 0:
            raise DataError(
                "all rows belong to one group, so no fold can leave it out",
                where="groups",
                remedy="Give data of at least two groups, or no groups",
            )
    k = min(n_splits, n if codes is None else int(codes.max()) + 1)
    out: list[Fold] = []
    for repeat in range(n_repeats):
        rng = np.random.default_rng([int(random_state), repeat])
        if codes is not None:
            fold = _deal_groups(strata, codes, k, rng)
        elif task == "classification":
            fold = _deal_classes(strata, k, rng)
        elif task == "multilabel":
            fold = _deal_columns(strata, k, rng)
        else:
            fold = _deal_ranks(strata, k, rng)
        out += [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(k)]
    return out


def _strata(y: Any, task: Task) -> Array:
    """Class codes (n,), bool columns (n, k) or numbers (n,): what the folds are balanced over."""
    y = np.asarray(y)
    if task == "multilabel":
        if y.ndim != 2:
            raise DataError(f"multi-label targets of shape {y.shape}", why="expected (rows, k)")
        return y.astype(bool)
    if y.ndim != 1:
        raise DataError(f"targets of shape {y.shape}", where="y", why="expected one per row")
    if task == "regression":
        y = y.astype(np.float64)
        if not np.isfinite(y).all():
            raise DataError("missing or infinite targets cannot be split", where="y")
        return y
    if task != "classification":
        raise UsageError(f"unknown task {task!r}")
    if y.dtype == object:
        if any(value is None or value != value for value in y):
            raise DataError("rows without a label cannot be split", where="y")
        y = y.astype(str)
    return np.unique(y, return_inverse=True)[1]


def _deal_classes(codes: Array, k: int, rng: np.random.Generator) -> Array:
    """Round robin over rows sorted by class, so a class of m <= k rows meets m different folds."""
    n = len(codes)
    class_order = rng.permutation(int(codes.max()) + 1)
    order = np.lexsort((rng.permutation(n), class_order[codes]))
    fold = np.empty(n, dtype=np.int64)
    fold[order] = rng.permutation(k)[np.arange(n) % k]
    return fold


def _deal_ranks(values: Array, k: int, rng: np.random.Generator) -> Array:
    """Each run of k neighbours in rank goes to the k folds in random order."""
    n = len(values)
    order = np.lexsort((rng.permutation(n), values))
    rounds = -(-n // k)
    fold = np.empty(n, dtype=np.int64)
    fold[order] = np.concatenate([rng.permutation(k) for _ in range(rounds)])[:n]
    return fold


def _deal_columns(labels: Array, k: int, rng: np.random.Generator) -> Array:
    """Rarest column first, each of its rows to the fold that has fewest of it, then fewest rows."""
    n = len(labels)
    fold = np.full(n, -1, dtype=np.int64)
    size = np.zeros(k)
    count = np.zeros((labels.shape[1], k))
    columns = sorted(range(labels.shape[1]), key=lambda j: int(labels[:, j].sum()))
    for j in [*columns, None]:
        rows = np.flatnonzero((fold < 0) if j is None else (fold < 0) & labels[:, j])
        wants = size if j is None else count[j]
        for row in rng.permutation(rows):
            f = int(np.lexsort((rng.random(k), size, wants))[0])
            fold[row] = f
            size[f] += 1
            count[labels[row], f] += 1
    return fold


def _deal_groups(strata: Array, codes: Array, k: int, rng: np.random.Generator) -> Array:
    """Greedy: the groups hardest to place first, each where the folds' label counts stay evenest.

    The rule is that of scikit-learn's StratifiedGroupKFold, without its refusals for rare classes.
    """
    if strata.dtype == bool:
        onehot = strata.astype(np.float64)
    else:
        if strata.dtype.kind == "f":
            edges = np.quantile(strata, np.linspace(0, 1, _BINS + 1)[1:-1])
            strata = np.searchsorted(edges, strata)
        onehot = np.eye(int(strata.max()) + 1)[strata]
    onehot = np.column_stack([onehot, np.ones(len(codes))])  # rows count like one more label
    n_groups = int(codes.max()) + 1
    table = np.zeros((n_groups, onehot.shape[1]))
    np.add.at(table, codes, onehot)
    table /= np.maximum(table.sum(axis=0), 1.0)
    load = np.zeros((k, table.shape[1]))
    placed = np.zeros(k, dtype=np.int64)
    where = np.empty(n_groups, dtype=np.int64)
    order = np.lexsort((rng.permutation(n_groups), -np.sum(table**2, axis=1)))
    for i, g in enumerate(order):
        # Adding row g to fold f changes the sum of squared loads by 2 load_f . g + const.
        cost = load @ table[g]
        if n_groups - i <= np.sum(placed == 0):  # no fold may end empty
            cost = np.where(placed == 0, cost, np.inf)
        f = int(np.lexsort((rng.random(k), load[:, -1], np.round(cost, 12)))[0])
        where[g] = f
        load[f] += table[g]
        placed[f] += 1
    return where[codes]
