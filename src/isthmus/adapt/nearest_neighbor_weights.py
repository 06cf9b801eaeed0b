"""Weights from nearest neighbours: how many target rows fall to each source row (Loog 2012)."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.density import (
    approximate,
    canonical,
    draw,
    host,
    probes,
    squared_distances,
    take,
)
from isthmus.types import Adaptation, Array

BLOCK = 2000  # rows of a distance block


class NearestNeighborWeights(Adapter):
    """Count the target rows in the Voronoi cell of each source row.

    ``w(x) = smoothing + #{z in target : x is its nearest source row}`` (Loog, *Nearest
    neighbor-based importance weighting*, MLSP 2012, with the Laplace smoothing of its section 3).

    Parameters
    ----------
    smoothing : float, default=1.0
        Added to every count; 0 leaves out source rows that no target row is near.
    clip : float, default=20.0
        Largest weight in units of the mean weight.
    solver : {"auto", "exact", "approximate"}, default="auto"
        "exact" is brute force in blocks; "approximate" searches inverted lists: source rows are
        grouped around sqrt(n_s) of their own, each target row looks into the `n_probe` nearest
        groups; "auto" = by size.
    n_probe : int, optional
        Default: 4, and more where rows are few, all of them up to some 10,000 + 10,000 rows of 256.
    max_exact : int, default=5000
        Rows of a domain up to which "auto" is exact.
    random_state : int, default=0
        Seed of the groups; they depend on the values, not on the order of the rows.

    Notes
    -----
    Cost: exact O(n_s n_t d); approximate O((n_s + n_probe n_t) sqrt(n_s) d). Equally near source
    rows: the first in sorted order counts.
    """

    family = "instance"

    def __init__(
        self,
        smoothing: float = 1.0,
        *,
        clip: float = 20.0,
        solver: str = "auto",
        n_probe: int | None = None,
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.smoothing, self.clip, self.solver, self.n_probe = smoothing, clip, solver, n_probe
        self.max_exact, self.random_state = max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = canonical(check_domains(Xs, ys, Xt, who="NearestNeighborWeights"))
        xp, n = data.xp, data.Xs.shape[0]
        part = approximate(self.solver, max(n, data.Xt.shape[0]), self.max_exact)
        count, m = int(n**0.5), int(data.Xt.shape[0])
        look = self.n_probe
        if look is None:
            look = probes(m, n, count, int(data.Xs.shape[1]), least=4)
            part = part and look < count
        if part:
            groups = take(xp, data.Xs, np.sort(draw(n, count, self.random_state)))
            nearest = inverted_lists(xp, data.Xs, data.Xt, groups, look)
        else:
            nearest, _ = closest(xp, data.Xt, data.Xs)
        counts = np.bincount(nearest, minlength=n) + float(self.smoothing)
        zero = data.Xs[:, 0] * 0
        return data.result(
            zero + xp.asarray(counts, device=zero.device),
            clip=self.clip,
            solver="approximate: inverted lists" if part else "exact",
            empty_cells=int((np.bincount(nearest, minlength=n) == 0).sum()),
        )


def closest(xp: Any, queries: Any, points: Any, k: int = 1) -> tuple[Array, Array]:
    """Nearest point of each query and its squared distance; for k > 1 (n, k) positions only."""
    index, best = [], []
    for start in range(0, queries.shape[0], BLOCK):
        squared = squared_distances(xp, queries[start : start + BLOCK, :], points)
        if k == 1:
            index.append(host(xp.argmin(squared, axis=1)))
            best.append(host(xp.min(squared, axis=1)))
        else:
            index.append(np.argpartition(host(squared), k - 1, axis=1)[:, :k])
    return np.concatenate(index), np.concatenate(best) if best else np.empty(0)


def inverted_lists(xp: Any, Xs: Any, Xt: Any, groups: Any, n_probe: int) -> Array:
    """Nearest source row of each target row, sought in the `n_probe` nearest groups only."""
    mine, _ = closest(xp, Xs, groups)
    probe = min(n_probe, groups.shape[0])
    look, _ = closest(xp, Xt, groups, probe)
    look = look.reshape(Xt.shape[0], probe)
    members = np.split(np.argsort(mine, kind="stable"), np.cumsum(np.bincount(mine))[:-1])
    nearest = np.zeros(Xt.shape[0], dtype=np.int64)
    best = np.full(Xt.shape[0], np.inf)
    asks = np.split(
        np.argsort(look.ravel(), kind="stable") // probe,
        np.cumsum(np.bincount(look.ravel(), minlength=groups.shape[0]))[:-1],
    )
    for rows, targets in zip(members, asks, strict=False):
        if not len(rows) or not len(targets):
            continue
        found, squared = closest(xp, take(xp, Xt, targets), take(xp, Xs, rows))
        better = squared < best[targets]
        best[targets[better]] = squared[better]
        nearest[targets[better]] = rows[found[better]]
    return nearest
