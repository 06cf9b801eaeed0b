"""Layer 4: how much each source domain counts: by likeness, as parts of a mixture, by labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.adapt.black_box import fitted, logs
from isthmus.adapt.density import draw, sorting
from isthmus.adapt.mixture import proportions
from isthmus.adapt.sides import deal
from isthmus.discrepancy.mmd import mmd
from isthmus.types import Array, Trouble

PSEUDO_ROWS = (0.0, 1.0, 4.0, 16.0, 64.0, 256.0, np.inf)
DEFAULT_ROWS = 16.0  # where nothing can be held out
LEAST = 1e-12


def discrepancy(Xs: Any, weights: Any, Xt: Any, *, max_rows: int, seed: int) -> float:
    """Squared MMD of adapted source rows (drawn with their weights) and mapped target rows."""
    Xs, Xt = np.asarray(Xs, dtype=np.float64), np.asarray(Xt, dtype=np.float64)
    order = sorting(Xs)
    if weights is not None:
        share = np.asarray(weights, dtype=np.float64)[order]
        rng = np.random.default_rng(seed)
        # systematic draw: every row about as often as its weight says
        place = (np.arange(min(len(Xs), max_rows)) + rng.random()) / min(len(Xs), max_rows)
        rows = order[np.searchsorted(np.cumsum(share) / share.sum(), place).clip(0, len(Xs) - 1)]
    else:
        rows = order[draw(len(Xs), max_rows, seed)]
    target = sorting(Xt)[draw(len(Xt), max_rows, seed)]
    if len(rows) < 2 or len(target) < 2:
        rows, target = np.resize(rows, 2), np.resize(target, 2)
    return mmd(Xs[rows], Xt[target], unbiased=False, random_state=seed)


def sampling_gap(counts: Sequence[int], n_target: int, *, max_rows: int) -> float:
    """Squared MMD that sampling alone leaves between the smallest source and the target."""
    return 1 / min(*counts, max_rows) + 1 / min(n_target, max_rows)


def by_likeness(gaps: Array, chance: float, temperature: float) -> Array:
    """(J,) weights ``exp(-gap / (temperature * mean gap))``, sum 1.

    Parameters
    ----------
    chance : float
        Gap that sampling alone leaves: the mean gap counts as at least that.
    """
    unit = temperature * max(float(gaps.mean()), chance, LEAST)
    out = np.exp(-(gaps - gaps.min()) / unit)
    return np.asarray(out / out.sum())


@dataclass(frozen=True)
class DomainRatios:
    """Density of each source relative to all of them pooled, by a classifier of the domains.

    Parameters
    ----------
    model : classifier
        Fitted, classes 0 .. J - 1.
    prior : ndarray of shape (J,)
        Shares of the rows it was fitted on.
    """

    model: Any
    prior: Array

    def __call__(self, X: Array) -> Array:
        """(n, J) ratios."""
        out = np.zeros((len(X), len(self.prior)))
        out[:, np.asarray(self.model.classes_, dtype=int)] = np.exp(logs(self.model, X))
        return np.asarray(out / self.prior)


def domain_ratios(
    Xs: Array, codes: Array, estimator: Any, *, max_rows: int, seed: int
) -> tuple[DomainRatios, tuple[Trouble, ...]]:
    """A classifier of the source domains on at most `max_rows` rows of each."""
    rows = np.concatenate(
        [
            np.flatnonzero(codes == j)[sorting(Xs[codes == j])][
                draw(int((codes == j).sum()), max_rows, seed)
            ]
            for j in range(codes.max() + 1)
        ]
    )
    model, fine = fitted(estimator, Xs[rows], codes[rows])
    stopped = "the classifier of the source domains stopped at max_iter"
    trouble = Trouble("not-converged", stopped, "Scale the features or give domain_estimator")
    prior = np.bincount(codes[rows]) / len(rows)
    return DomainRatios(model, prior), () if fine else (trouble,)


def as_mixture(ratios: Array) -> tuple[Array, float]:
    """(J,) shares of the sources under which the target rows are most likely, and the gap left."""
    J = ratios.shape[1]
    shares, gap, _ = proportions(np, ratios, start=np.full(J, 1 / J))
    return np.asarray(shares), gap


def stack(likelihood: Array, start: Array, pseudo: float, *, max_iter: int = 1000) -> Array:
    """(J,) weights that maximise ``sum_i log sum_j w_j p_ij + pseudo sum_j start_j log w_j``.

    Parameters
    ----------
    likelihood : ndarray of shape (n, J)
        Probability that each source's classifier gives the label of a row.
    start : ndarray of shape (J,)
        Weights without labels; they count as `pseudo` rows.
    """
    w = start
    if np.isinf(pseudo):
        return w
    p = np.maximum(likelihood, LEAST)
    for _ in range(max_iter):
        mine = p * w
        mine /= mine.sum(axis=1, keepdims=True)
        new = (pseudo * start + mine.sum(axis=0)) / (pseudo + len(p))
        if np.abs(new - w).max() < 1e-9:
            return np.asarray(new)
        w = new
    return np.asarray(w)


def by_labels(
    likelihood: Array, start: Array, X: Array, codes: Array, *, cv: int, seed: int
) -> tuple[Array, float, dict[float, float]]:
    """Stacked weights, the pseudo rows that cross-validation chose, and the loss of each."""
    n = len(likelihood)
    losses: dict[float, float] = {}
    if n < 2:
        return stack(likelihood, start, DEFAULT_ROWS), DEFAULT_ROWS, losses
    folds = max(2, min(cv, n))
    parts = [deal(X, codes, folds, seed + repeat) for repeat in range(3)]
    for pseudo in PSEUDO_ROWS:
        total, count = 0.0, 0
        for fold in parts:
            for f in np.unique(fold):
                test = fold == f
                w = stack(likelihood[~test], start, pseudo)
                total -= float(np.log(np.maximum(likelihood[test] @ w, LEAST)).sum())
                count += int(test.sum())
        losses[pseudo] = total / count
    # equal losses (one source): the weights without labels stand
    best = min(reversed(PSEUDO_ROWS), key=lambda pseudo: round(losses[pseudo], 12))
    return stack(likelihood, start, best), best, losses
