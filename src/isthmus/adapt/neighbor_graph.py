"""Layer 4: nearest neighbours in bounded memory, and the joint graph of two domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from isthmus.adapt.density import draw, sorting
from isthmus.types import Array

BLOCK_CELLS = 8_000_000  # distances in memory at a time


@dataclass(frozen=True)
class Neighbors:
    """The k nearest points of each query, nearest first.

    Parameters
    ----------
    index : ndarray of shape (n, k), int
    squared : ndarray of shape (n, k)
        Squared distances; infinite where fewer than k were found.
    """

    index: Array
    squared: Array


def nearest(queries: Array, points: Array, k: int, *, same: bool = False) -> Neighbors:
    """Exact, by brute force in blocks.

    Parameters
    ----------
    same : bool
        The queries are the points, and a row is no neighbour of itself.
    """
    n, k = len(queries), min(k, len(points) - same)
    centre = points.mean(axis=0, dtype=np.float64)
    B = points - centre.astype(points.dtype)
    length = np.einsum("nd,nd->n", B, B)
    index, squared = np.empty((n, k), dtype=np.int64), np.empty((n, k))
    step = max(1, BLOCK_CELLS // len(points))
    for start in range(0, n, step):
        A = queries[start : start + step] - centre.astype(points.dtype)
        gap = (A * -2) @ B.T
        gap += np.einsum("nd,nd->n", A, A)[:, None]
        gap += length
        if same:
            gap[np.arange(len(A)), np.arange(start, start + len(A))] = np.inf
        index[start : start + step], squared[start : start + step] = smallest(gap, k)
    return Neighbors(index, np.maximum(squared, 0.0))


def smallest(gap: Array, k: int) -> tuple[Array, Array]:
    """Columns of the k least entries of each row, in order, and the entries."""
    if k < gap.shape[1]:
        part = np.argpartition(gap, k - 1, axis=1)[:, :k]
    else:
        part = np.broadcast_to(np.arange(gap.shape[1]), gap.shape)
    values = np.take_along_axis(gap, part, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    return np.take_along_axis(part, order, axis=1), np.take_along_axis(values, order, axis=1)


def list_count(n: int) -> int:
    """How many lists hold n points."""
    return max(1, min(int(2 * n**0.5), n))


def nearest_in_lists(
    queries: Array, points: Array, k: int, *, n_probe: int, seed: int, same: bool = False
) -> Neighbors:
    """Approximate: points are grouped around 2 sqrt(n) of their own (inverted lists).

    Each query looks into the `n_probe` groups whose centres are nearest. Single precision.
    """
    queries, points = (np.asarray(X, dtype=np.float32) for X in (queries, points))
    n, k = len(queries), min(k, len(points) - same)
    count = list_count(len(points))
    centres = points[sorting(points)[draw(len(points), count, seed)]]
    mine = nearest(points, centres, 1).index[:, 0]
    # one step of k-means: centres in the middle of their groups make shorter lists to search
    sums = sparse.csr_array(
        (np.ones(len(points), dtype=np.float32), (mine, np.arange(len(points)))),
        shape=(count, len(points)),
    )
    size = np.maximum(np.bincount(mine, minlength=count), 1)
    centres = (sums @ points) / size[:, None].astype(np.float32)
    mine = nearest(points, centres, 1).index[:, 0]
    probe = min(n_probe, count)
    look = nearest(queries, centres, probe).index
    lists = np.split(np.argsort(mine, kind="stable"), np.cumsum(np.bincount(mine, minlength=count)))
    asks = np.split(
        np.argsort(look.ravel(), kind="stable") // probe,
        np.cumsum(np.bincount(look.ravel(), minlength=count)),
    )
    index = np.zeros((n, k), dtype=np.int64)
    squared = np.full((n, k), np.inf)
    for members, rows in zip(lists[:count], asks[:count], strict=True):
        if not len(members) or not len(rows):
            continue
        found = nearest_without(queries, points, rows, members, k, same)
        both = np.concatenate([squared[rows], found.squared], axis=1)
        names = np.concatenate([index[rows], members[found.index]], axis=1)
        at, squared[rows] = smallest(both, k)
        index[rows] = np.take_along_axis(names, at, axis=1)
    return Neighbors(index, squared)


def nearest_without(
    queries: Array, points: Array, rows: Array, members: Array, k: int, same: bool
) -> Neighbors:
    """`nearest` within one list; a query that is a member is infinitely far from itself."""
    found = nearest(queries[rows], points[members], k + same)
    if same:
        own = members[found.index] == rows[:, None]
        return Neighbors(found.index, np.where(own, np.inf, found.squared))
    return found


def affinity(
    found: Neighbors, shape: tuple[int, int], scale: Array, other: Array
) -> sparse.csr_array:
    """Edges ``exp(-distance^2 / (scale_i other_j))`` (Zelnik-Manor and Perona 2004)."""
    n, k = found.index.shape
    rows = np.repeat(np.arange(n), k)
    columns, squared = found.index.ravel(), found.squared.ravel()
    there = np.isfinite(squared)
    rows, columns, squared = rows[there], columns[there], squared[there]
    unit = scale[rows] * other[columns]
    weight = np.exp(-np.minimum(squared / unit, 50.0))  # a weak edge is an edge all the same
    return sparse.csr_array((weight, (rows, columns)), shape=shape)


def reach(found: Neighbors, floor: float) -> Array:
    """(n,) distance to the farthest of the neighbours, at least `floor`."""
    squared = np.where(np.isfinite(found.squared), found.squared, 0.0)
    return np.maximum(np.sqrt(squared.max(axis=1)), floor)


def joint_graph(
    within_source: Neighbors, within_target: Neighbors, across: Neighbors, shape: tuple[int, int]
) -> sparse.csr_array:
    """Symmetric affinities of all rows, source first.

    Parameters
    ----------
    across : Neighbors
        Source rows nearest to each target row; their scale is that target row's own reach into
        the source, so that a gap between the domains does not cut them apart.
    """
    ns, nt = shape
    typical = [f.squared[np.isfinite(f.squared)] for f in (within_source, within_target, across)]
    pooled = np.concatenate(typical) if sum(map(len, typical)) else np.ones(1)
    floor = max(float(np.sqrt(np.median(pooled))) * 1e-6, 1e-12)
    parts: list[list[sparse.csr_array]] = []
    blocks = []
    for found, n in ((within_source, ns), (within_target, nt)):
        if found.index.shape[1]:
            scale = reach(found, floor)
            W = affinity(found, (n, n), scale, scale)
            blocks.append(W.maximum(W.T))
        else:
            blocks.append(sparse.csr_array((n, n)))
    if across.index.shape[1]:
        scale = reach(across, floor)
        link = affinity(across, (nt, ns), scale**2, np.ones(ns))
    else:
        link = sparse.csr_array((nt, ns))
    parts = [[blocks[0], link.T.tocsr()], [link, blocks[1]]]
    return sparse.csr_array(sparse.block_array(parts, format="csr"))


def propagate(
    W: sparse.csr_array, seeds: Array, alpha: float, *, tol: float, max_iter: int
) -> tuple[Array, float, int]:
    """``(1 - alpha) (I - alpha D^-1/2 W D^-1/2)^-1 seeds`` by conjugate gradients.

    All columns at once; each stops counting when its residual has fallen to `tol`.

    Returns
    -------
    F : ndarray of shape (n, K)
    residual : float
        Largest relative residual of a column.
    iterations : int
    """
    degree = np.asarray(W.sum(axis=1)).ravel()
    root = np.where(degree > 0, degree, 1.0) ** -0.5
    S = sparse.csr_array(W.multiply(root[:, None]).multiply(root[None, :]))
    right = (1 - alpha) * seeds
    F = right.copy()  # exact for rows without neighbours
    residual = right - (F - alpha * (S @ F))
    direction = residual.copy()
    size = (residual**2).sum(axis=0)
    goal = tol**2 * np.maximum((right**2).sum(axis=0), 1e-300)
    steps = 0
    for steps in range(1, max_iter + 1):
        if (size <= goal).all():
            steps -= 1
            break
        image = direction - alpha * (S @ direction)
        bend = (direction * image).sum(axis=0)
        length = np.divide(size, bend, out=np.zeros_like(size), where=bend > 0)
        F += length * direction
        residual -= length * image
        new = (residual**2).sum(axis=0)
        turn = np.divide(new, size, out=np.zeros_like(size), where=size > 0)
        direction = residual + turn * direction
        size = new
    left = float(np.sqrt((size / np.maximum((right**2).sum(axis=0), 1e-300)).max()))
    return F, left, steps
