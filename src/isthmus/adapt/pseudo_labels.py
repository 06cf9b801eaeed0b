"""Layer 4: pseudo-labels of target rows by their nearest source row."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from isthmus.adapt.density import approximate, draw, host, probes, sorting, take
from isthmus.adapt.kernels import settle
from isthmus.types import Trouble

BLOCK = 4_000_000  # distances held at once
FEW = 1e-3  # share of labels that may still change when the search is approximate


def nearest(
    xp: Any,
    Zs: Any,
    codes: np.ndarray,
    Zt: Any,
    *,
    solver: str,
    max_exact: int,
    random_state: int = 0,
) -> np.ndarray:
    """Class code of the nearest source row of each target row (1-NN).

    Parameters
    ----------
    codes : ndarray of shape (n_s,)
    solver : {'auto', 'exact', 'approximate'}
        Brute force, or a search in the nearest of sqrt(n_s) groups of source rows, as many as
        `density.probes` allows (8 of 316 groups at 100,000 + 100,000 rows; up to 15,000 + 15,000
        rows of 40 columns all of them: brute force). ``auto``: brute force up to `max_exact` rows
        of both domains.
    """
    ns, nt = int(Zs.shape[0]), int(Zt.shape[0])
    count = int(ns**0.5)
    look = probes(nt, ns, count, int(Zs.shape[1]), least=8)
    # far from the origin |a|^2 - 2 a.b would cancel
    centre = xp.mean(Zs, axis=0)
    Zs, Zt = Zs - centre, Zt - centre
    if not approximate(solver, ns + nt, max_exact) or look >= count:
        return codes[_closest(xp, Zt, Zs)[0]]
    Zs, Zt = xp.astype(Zs, xp.float32, copy=False), xp.astype(Zt, xp.float32, copy=False)
    drawn = sorting(Zs)[np.sort(draw(ns, count, random_state))]
    middles = settle(xp, Zs, take(xp, Zs, drawn))
    return codes[_in_groups(xp, Zs, Zt, middles, look)]


def settled(
    fresh: np.ndarray, pseudo: np.ndarray, *, rows: int, solver: str, max_exact: int
) -> bool:
    """Whether a round changed nothing; of many rows on a border a few change for ever.

    Parameters
    ----------
    rows : int
        Of both domains: they decide on the solver, and a thousandth of the labels may change
        where it is approximate.
    """
    changed = float(np.mean(fresh != pseudo))
    return changed <= (FEW if approximate(solver, rows, max_exact) else 0.0)


def _closest(xp: Any, queries: Any, points: Any, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Nearest point of each query and ``|point|^2 - 2 point.query``; k > 1: the k nearest."""
    found: list[np.ndarray] = []
    values: list[np.ndarray] = []
    size, half = xp.sum(points * points, axis=1), points.T * -2
    step = max(BLOCK // int(points.shape[0]), 1)
    for at in range(0, int(queries.shape[0]), step):
        apart = queries[at : at + step] @ half
        apart += size
        if k == 1:
            place = xp.argmin(apart, axis=1)
            rows = xp.arange(apart.shape[0], device=array_api_compat.device(apart))
            found.append(host(place))
            values.append(host(apart[rows, place]))
        else:
            found.append(np.argpartition(host(apart), k - 1, axis=1)[:, :k])
    return np.concatenate(found), np.concatenate(values) if values else np.empty(0)


def _in_groups(xp: Any, Zs: Any, Zt: Any, middles: Any, probes: int) -> np.ndarray:
    """Nearest source row of each target row, among those of the `probes` nearest groups."""
    count, nt = int(middles.shape[0]), int(Zt.shape[0])
    mine, _ = _closest(xp, Zs, middles)
    look, _ = _closest(xp, Zt, middles, probes)
    members = _listed(mine, count)
    asking = [places // probes for places in _listed(look.ravel(), count)]
    out, best = np.zeros(nt, dtype=np.int64), np.full(nt, np.inf)
    for rows, targets in zip(members, asking, strict=True):
        if not len(rows) or not len(targets):
            continue
        place, apart = _closest(xp, take(xp, Zt, targets), take(xp, Zs, rows))
        better = apart < best[targets]
        best[targets[better]] = apart[better]
        out[targets[better]] = rows[place[better]]
    return out


def _listed(groups: np.ndarray, count: int) -> list[np.ndarray]:
    """Positions of the entries of each group."""
    ends = np.cumsum(np.bincount(groups, minlength=count))[:-1]
    return np.split(np.argsort(groups, kind="stable"), ends)


def missing(classes: np.ndarray, pseudo: np.ndarray) -> tuple[Trouble, ...]:
    """Trouble when no target row was given one of the source classes."""
    gone = np.setdiff1d(np.arange(len(classes)), pseudo)
    if not len(gone):
        return ()
    names = ", ".join(str(classes[c]) for c in gone[:5])
    return (
        Trouble(
            "empty-class",
            f"no target row looks like {len(gone)} of {len(classes)} source classes: {names}",
            "Their class means were not aligned; a method for partial label sets may fit better",
        ),
    )
