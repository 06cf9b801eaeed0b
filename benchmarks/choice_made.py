"""Simulated tables to learn from: few columns, unequal classes, answers that nobody could give.

Public sets hold clear classes of about equal size; a table of people, goods or records does not.
There the features form groups that have nothing to do with the classes, most rows belong to one
class, the best possible accuracy is far from 1, and a map that makes clusters or equal shares
hurts. Each task is one population, cut into source and target along a column, a direction or a
group; some of them also change what the columns say of the class, or how they are measured.
"""

from __future__ import annotations

import numpy as np

from benchmarks.choice_tasks import ChoiceTask

STYLES = ("additive", "regions")  # how the class follows from the columns


def made_table(seed: int) -> ChoiceTask:
    """One task; the same for the same seed."""
    rng = np.random.default_rng([seed, 20])
    style = STYLES[seed % len(STYLES)]
    while True:
        task = _table(rng, style, seed)
        _, counts = np.unique(task.ys, return_counts=True)
        if (counts >= 2).sum() >= 2 and len(task.ys) >= 60 and len(task.yt) >= 60:
            return task


def _table(rng: np.random.Generator, style: str, seed: int) -> ChoiceTask:
    n, d = _between(rng, 300, 2500), _between(rng, 4, 40)
    group = rng.integers(0, rng.integers(1, 5), n)
    Z = rng.normal(size=(n, d // 2 + 1)) @ rng.normal(size=(d // 2 + 1, d)) / np.sqrt(d // 2 + 1)
    Z += rng.normal(size=(n, d)) * rng.uniform(0.2, 1) + rng.normal(size=(5, d))[group]
    X = np.column_stack([_column(rng, z) for z in Z.T])
    side = _side(rng, X, group)
    K = int(rng.choice([2, 2, 2, 3, 4, 5, 6]))
    score = _standard(_scores(rng, X, style, K)) * rng.uniform(0.5, 3)
    if rng.random() < 0.5:  # the target's columns say something else of the class
        drift = _standard(_scores(rng, X, style, K)) * rng.uniform(0, 0.8)
        score = score + (side == 1)[:, None] * (drift + rng.normal(size=K) * rng.uniform(0, 1))
    score = score + rng.normal(size=K) * rng.uniform(0, 1.5)
    y = (score + rng.gumbel(size=score.shape)).argmax(axis=1).astype(str)
    if rng.random() < 0.3:  # or are measured in another way
        for j in rng.permutation(d)[: _between(rng, 1, max(2, d // 3))]:
            spread = X[:, j].std()
            moved = X[:, j] * np.exp(rng.normal(0, 0.4)) + rng.normal(0, 0.7) * spread
            X[:, j] = np.where(side == 1, moved if rng.random() < 0.7 else X[:, j].mean(), X[:, j])
    X = (X * 10.0 ** rng.uniform(-1, 3, X.shape[1])).astype(np.float32)
    s = rng.permutation(np.flatnonzero(side == 0))[: _between(rng, 100, 1000)]
    t = rng.permutation(np.flatnonzero((side == 1) & np.isin(y, y[s])))[: _between(rng, 100, 1000)]
    return ChoiceTask(f"made:{style}{seed}", f"made {style}", "table", X[s], y[s], X[t], y[t])


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """Any size is as likely as twice that."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))


def _column(rng: np.random.Generator, z: np.ndarray) -> np.ndarray:
    """A column as tables have it: a measure, an amount, a grade or a yes."""
    kind = rng.random()
    z = _standard(z)
    if kind < 0.35:
        return z
    if kind < 0.55:
        return np.exp(rng.uniform(0.4, 1) * z)
    if kind < 0.8:
        return np.digitize(z, np.sort(rng.normal(size=rng.integers(2, 8)))).astype(float)
    return (z > rng.normal()).astype(float)


def _side(rng: np.random.Generator, X: np.ndarray, group: np.ndarray) -> np.ndarray:
    """0 source, 1 target, -1 neither."""
    kind = rng.random()
    along = _standard(X) @ rng.normal(size=X.shape[1])
    if kind < 0.5:
        along = X[:, rng.integers(X.shape[1])]
    elif kind < 0.7:
        along = rng.normal(size=5)[group]
    along = _standard(along) + rng.normal(size=len(X)) * rng.uniform(0.05, 1.5)
    middle = rng.uniform(0.3, 0.7)
    low, high = np.quantile(along, [middle * rng.uniform(0.7, 1), middle])
    side = np.where(along > high, 1, np.where(along <= low, 0, -1))
    return np.where(side >= 0, 1 - side, side) if rng.random() < 0.5 else side


def _scores(rng: np.random.Generator, X: np.ndarray, style: str, K: int) -> np.ndarray:
    """(n, K) what speaks for each class: sums over columns, or boxes that columns cut out."""
    V = _standard(X)
    if style == "additive":
        B = rng.normal(size=(V.shape[1], K)) * (rng.random((V.shape[1], K)) < 0.5)
        return np.asarray((V + rng.uniform(0, 0.5) * V**2) @ B)
    out = np.zeros((len(V), K))
    for _ in range(_between(rng, 3, 12)):
        inside = np.ones(len(V), dtype=bool)
        for j in rng.integers(0, V.shape[1], rng.integers(1, 4)):
            cut = rng.choice(V[:, j])
            inside &= V[:, j] <= cut if rng.random() < 0.5 else V[:, j] >= cut
        out += inside[:, None] * rng.normal(size=K)
    return out


def _standard(X: np.ndarray) -> np.ndarray:
    return (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)
