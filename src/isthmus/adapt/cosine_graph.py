"""Layer 4: the cosine nearest-neighbour graph of rows, exact or by cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from array_api_compat import numpy as xnp

from isthmus.adapt.kernels import settle, unit_rows

CELLS = 20_000_000  # similarities held at once
LOOKED = 800_000_000  # similarities that the search in cells may look at


def laplacian(Z: np.ndarray, *, neighbors: int, exact: bool, random_state: int) -> sp.csr_matrix:
    """Normalised Laplacian ``I - D^(-1/2) W D^(-1/2)`` of the symmetric neighbour graph.

    ``W_ij`` is the cosine where either row is among the other's `neighbors` nearest (itself not
    counted, but connected), 0 elsewhere.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Rows of unit length.
    exact : bool
        False: rows are sorted into sqrt(n) cells, and neighbours are sought in the nearest cells
        only, as many as `LOOKED` allows (9 of 447 at 200,000 rows, all up to 28,000).
    """
    n = len(Z)
    width = min(neighbors + 1, n)
    probes = max(4, int(LOOKED / n**1.5))
    if exact or probes >= int(n**0.5):
        step = max(CELLS // n, 1)
        blocks = [(np.arange(at, min(at + step, n)), np.arange(n)) for at in range(0, n, step)]
    else:
        blocks = _cells(Z, probes, random_state)
    rows, columns, values = [], [], []
    for inside, around in blocks:
        found, near = _top(Z, inside, around, width)
        rows.append(np.repeat(inside, found.shape[1]))
        columns.append(found.ravel())
        values.append(near.ravel())
    data = np.maximum(np.concatenate(values), 0)
    W = sp.csr_matrix((data, (np.concatenate(rows), np.concatenate(columns))), shape=(n, n))
    W = W.maximum(W.T)
    degree = np.asarray(W.sum(axis=1)).ravel()
    root = sp.diags(1 / np.sqrt(np.where(degree > 0, degree, 1)))
    return (sp.identity(n, format="csr") - root @ W @ root).tocsr()


def _top(Z: np.ndarray, inside: Any, around: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and cosines of the `width` nearest of `around` for each row of `inside`."""
    width = min(width, len(around))
    near = Z[inside] @ Z[around].T
    if width == len(around):
        return np.broadcast_to(around, near.shape), near
    place = np.argpartition(-near, width - 1, axis=1)[:, :width]
    return around[place], np.take_along_axis(near, place, axis=1)


def _cells(Z: np.ndarray, probes: int, random_state: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows of a cell, rows of the cells around it)."""
    n = len(Z)
    count = max(int(np.sqrt(n)), 1)
    pivots = Z[np.random.default_rng(random_state).permutation(n)[:count]]
    pivots = unit_rows(xnp, settle(xnp, Z, pivots))
    own = np.concatenate(
        [np.argmax(Z[at : at + 8192] @ pivots.T, axis=1) for at in range(0, n, 8192)]
    )
    members = [np.flatnonzero(own == c) for c in range(count)]
    close = np.argsort(-(pivots @ pivots.T), axis=1, kind="stable")[:, :probes]
    parts = []
    for c, rows in enumerate(members):
        around = np.unique(np.concatenate([rows, *(members[j] for j in close[c])]))
        for at in range(0, len(rows), max(CELLS // max(len(around), 1), 1)):
            parts.append((rows[at : at + max(CELLS // max(len(around), 1), 1)], around))
    return [part for part in parts if len(part[0])]
