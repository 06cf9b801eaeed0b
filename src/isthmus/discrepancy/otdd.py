"""Optimal transport dataset distance (Alvarez-Melis and Fusi 2020): features and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.discrepancy.base import Gap, check_labels, check_pair, mean_and_spread
from isthmus.discrepancy.wasserstein import empirical_cost
from isthmus.errors import need
from isthmus.types import Array, Interval, Trouble


def otdd(
    zs: Any,
    ys: Any,
    zt: Any,
    yt: Any,
    *,
    max_rows: int = 1000,
    n_draws: int = 3,
    level: float = 0.95,
    random_state: int = 0,
) -> Gap:
    """Transport between labelled sets whose class names need not match.

    The cost of two rows is ``|x - x'|^2 + W_2^2(N_y, N_y')`` with a Gaussian for every class
    (Alvarez-Melis and Fusi 2020, eq. 5 and 7); the distance is the square root of the cheapest
    plan's cost.

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy or torch (brought to the host; POT's exact solver runs there).
    ys, yt : array of shape (n_s,), (n_t,)
        Labels; the two sets of names are never compared.
    max_rows : int, default=1000
        Exact up to this many rows a side; beyond it the mean over `n_draws` random samples,
        which is biased upwards. The class Gaussians always use all rows.
    n_draws, level, random_state
        Draws, coverage, seed.

    Returns
    -------
    Gap
        In units of the features; ``info`` holds the (k_s, k_t) distances of the classes.

    Raises
    ------
    MissingExtraError
        If POT is not installed.
    """
    ot = need("ot", extra="transport")
    _, zs, zt = check_pair(zs, zt, who="otdd", least=1, numpy=True)
    classes, codes = [], []
    for labels, z, name in ((ys, zs, "source"), (yt, zt, "target")):
        checked = check_labels(labels, len(z), name=name, who="otdd")
        names, code = np.unique(checked, return_inverse=True)
        classes.append(names)
        codes.append(code)
    between = class_distances(zs, codes[0], zt, codes[1])
    rng = np.random.default_rng(random_state)
    large = max(len(zs), len(zt)) > max_rows
    values, warned = [], ""
    for _ in range(n_draws if large else 1):
        rows_s, rows_t = (
            np.sort(rng.choice(len(z), max_rows, replace=False))
            if len(z) > max_rows
            else np.arange(len(z))
            for z in (zs, zt)
        )
        cost = empirical_cost(zs[rows_s], zt[rows_t])
        cost = cost + between[np.ix_(codes[0][rows_s], codes[1][rows_t])]
        weights = (np.full(len(r), 1 / len(r)) for r in (rows_s, rows_t))
        # the default limit stops short of the optimum at a few thousand rows
        total, log = ot.emd2(*weights, cost, log=True, numItermax=5_000_000)
        values.append(max(float(total), 0.0))
        warned = log.get("warning") or warned
    troubles: tuple[Trouble, ...] = ()
    if warned:
        troubles = (Trouble("not-converged", str(warned), "Use a smaller max_rows"),)
    value = float(np.sqrt(np.mean(values)))
    info = {
        "source_classes": classes[0].tolist(),
        "target_classes": classes[1].tolist(),
        "class_distances": np.sqrt(between),
    }
    how = "OTDD, Gaussian classes, exact transport"
    if not large:
        return Gap(value, how, troubles=troubles, info=info)
    words = f"{n_draws} draws of at most {max_rows} rows a side"
    mean = mean_and_spread(np.array(values), level=level, how="")
    low, high = (float(np.sqrt(max(end, 0.0))) for end in (mean.low, mean.high))
    interval = Interval(value, low, high, level=level, how=f"t over {words}")
    return Gap(value, f"{how}, {words}", interval, troubles=troubles, info=info)


def class_distances(zs: Array, codes_s: Array, zt: Array, codes_t: Array) -> Array:
    """(k_s, k_t) squared W_2 between the Gaussians of the classes.

    ``|m - m'|^2 + tr(C) + tr(C') - 2 |F F'^T|_*`` with C = F^T F: the nuclear norm equals the
    trace of (C^1/2 C' C^1/2)^1/2, and a factor F of min(rows, d) rows spares the matrix roots.

    Parameters
    ----------
    zs, zt : ndarray of shape (n_s, d), (n_t, d)
    codes_s, codes_t : ndarray of int
        Class positions 0, 1, ... of the rows.
    """
    source, target = _gaussians(zs, codes_s), _gaussians(zt, codes_t)
    out = np.empty((len(source), len(target)))
    for i, (mean, trace, factor) in enumerate(source):
        for j, (other_mean, other_trace, other) in enumerate(target):
            joint = np.linalg.svd(factor @ other.T, compute_uv=False).sum()
            distance = ((mean - other_mean) ** 2).sum() + trace + other_trace - 2 * joint
            out[i, j] = max(distance, 0.0)
    return out


def _gaussians(z: Array, codes: Array) -> list[tuple[Array, float, Array]]:
    """Mean, trace of the covariance and a factor of it for every class; one row: no spread."""
    found = []
    for code in range(int(codes.max()) + 1):
        rows = z[codes == code]
        centred = (rows - rows.mean(axis=0)) / np.sqrt(max(len(rows) - 1, 1))
        if len(rows) > z.shape[1]:
            centred = np.linalg.qr(centred, mode="r")
        found.append((rows.mean(axis=0), float((centred**2).sum()), centred))
    return found
