"""Layer 4: the rounds of JDOT: plan, refit, plan; shared by the classifier and the regressor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isthmus.adapt.transport import blocks, cost_matrix, earth_mover, mini_batch, positive
from isthmus.types import Array, Trouble

BATCH = 250  # rows of a mini-batch of `max_rows`
PAIRINGS = 3  # blocks that a row is part of: one alone leaves its label to a single draw


@dataclass
class JointPlan:
    """What the rounds end with.

    Parameters
    ----------
    moved : ndarray of shape (rows, k)
        Mean source label of each target row under the last plan.
    """

    moved: Array
    troubles: tuple[Trouble, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)


def alternate(
    Xs: Array,
    Xt: Array,
    labels: Array,
    refit: Callable[[Array, Array], None],
    loss: Callable[[Array, Array], Array],
    *,
    trade_off: float,
    max_iter: int,
    tol: float,
    solver: str,
    max_exact: int,
    batch: int | None,
    max_rows: int,
    random_state: int,
    who: str,
) -> JointPlan:
    """Algorithm 1 of Courty et al. 2017, in one block or in mini-batches.

    Parameters
    ----------
    labels : ndarray of shape (n_s, k)
        One-hot classes, or values.
    refit : callable
        ``refit(moved, rows)`` fits the model to ``Xt[rows]`` with the moved labels.
    loss : callable
        ``loss(source_rows, target_rows)`` -> (n, m) cost of the labels under the model.
    """
    positive(who, trade_off=trade_off, max_iter=max_iter, max_exact=max_exact, tol=tol)
    positive(who, max_rows=max_rows, batch=1 if batch is None else batch)
    n, m = len(Xs), len(Xt)
    size = mini_batch(
        n, m, batch, solver=solver, max_exact=max_exact, base=BATCH, of=max_rows,
        rows=max(n, m), power=1.3,
    )  # fmt: skip
    exact = size is None
    rng = np.random.default_rng(random_state)
    source, target = np.arange(n), np.arange(m)
    pairs = [(source, target)]
    if size is not None:
        source = np.sort(rng.permutation(n)[:max_rows])
        target = np.sort(rng.permutation(m)[:max_rows])
        pairs = covering(Xs[source], Xt[target], size, random_state)
        pairs = [(source[s], target[t]) for s, t in pairs]
    costs: dict[int, Array] = {}
    where = np.full(m, -1)
    where[target] = np.arange(len(target))
    last, change, failure, rounds = np.inf, np.inf, "", 0
    moved = np.zeros((len(target), labels.shape[1]))
    for rounds in range(1, max_iter + 1):
        total, moved, mass = 0.0, np.zeros_like(moved), np.zeros(len(target))
        for number, (s, t) in enumerate(pairs):
            cost = costs.get(number)
            if cost is None:
                cost = cost_matrix(Xs[s].astype(float), Xt[t].astype(float))[0]
                if exact:
                    costs[number] = cost
            full = cost + trade_off * loss(s, t) if rounds > 1 else cost
            a, b = np.full(len(s), 1 / len(s)), np.full(len(t), 1 / len(t))
            solved = earth_mover(full, a, b, max_iter=1_000_000)
            failure = failure or solved.failure
            total += float((solved.plan * full).sum()) / len(pairs)
            moved[where[t]] += solved.plan.T @ labels[s]
            mass[where[t]] += solved.plan.sum(axis=0)
        moved /= mass[:, None]
        refit(moved.copy(), target)
        change = abs(last - total) / max(abs(total), 1e-12)
        # the first objective has no label cost, so that the second cannot be compared with it
        if rounds > 2 and change < tol:
            break
        last = total if rounds > 1 else np.inf
    troubles: tuple[Trouble, ...] = ()
    if failure:
        troubles = (Trouble("not-converged", failure, "Standardise the features"),)
    if not (rounds > 2 and change < tol):
        reason = f"the objective still changed by {change:.2g} in round {rounds}"
        troubles += (
            Trouble("not-converged", reason, "Raise max_iter or tol, or a smaller trade_off"),
        )
    info = {
        "solver": "exact" if exact else "mini-batch",
        "rounds": rounds,
        "objective": total,
        "rows": len(target),
    }
    return JointPlan(moved, troubles, info)


def covering(Xs: Array, Xt: Array, batch: int, seed: int) -> list[tuple[Array, Array]]:
    """Pairs of blocks in which every row of both sides occurs."""
    if len(Xs) >= len(Xt):
        found = list(blocks(Xs, Xt, batch=batch, rounds=PAIRINGS, seed=seed))
        unseen = np.setdiff1d(np.arange(len(Xt)), np.concatenate([t for _, t in found]))
        if len(unseen):
            found.append((found[0][0], unseen))
        return found
    return [(s, t) for t, s in covering(Xt, Xs, batch, seed)]
