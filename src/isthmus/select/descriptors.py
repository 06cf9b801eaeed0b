"""Layer 6: what is measured of a pair of domains and of a candidate, without any target label.

These numbers are what the choice is learned from and made by (`isthmus.select.prior`). They are
shares, entropies divided by their maximum and logarithms of counts, so that tasks of any size and
number of classes can stand in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.fit.logistic import LogisticHead
from isthmus.select.bench import Bench, some
from isthmus.types import Array

NEIGHBORS = 10
MOST = 4000  # rows of a side that the neighbour and domain descriptors read
TASK = (
    "classes", "log_source_rows", "log_target_rows", "log_features", "held_out_accuracy",
    "held_out_confidence", "confidence_drop", "source_neighbor_agreement", "domain_auc",
    "source_prior_entropy", "log_penalty", "mean_agreement",
)  # fmt: skip
OWN = (
    "confidence", "entropy", "marginal_entropy", "information", "neighbor_agreement",
    "neighbor_kappa", "nuclear_norm", "agreement", "soft_agreement", "agreement_with_source",
    "moved_shares", "moved_mean", "share_entropy", "empty_classes",
)  # fmt: skip
RELATIVE = (
    "confidence", "entropy", "marginal_entropy", "information", "neighbor_agreement",
    "neighbor_kappa", "nuclear_norm", "agreement", "moved_shares", "share_entropy",
)  # fmt: skip


def columns(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of `table`, for candidates of these names."""
    return (*TASK, *OWN, *(f"{n}_over_source" for n in RELATIVE), *(f"is:{n}" for n in names))


class Surroundings:
    """What all candidates of a pair are measured against.

    Parameters
    ----------
    bench : Bench
    random_state : int, default=0
        Seed of the draws where there are more than `MOST` rows.
    """

    def __init__(self, bench: Bench, *, random_state: int = 0) -> None:
        rng = np.random.default_rng(random_state)
        space = bench.space
        self.K = len(bench.classes)
        self.rows = some(len(space.Xt), MOST, rng)
        own = some(len(space.Xs), MOST, rng)
        self.neighbors = neighbors(space.Xt[self.rows], NEIGHBORS)
        self.prior = np.bincount(bench.codes, minlength=self.K) / len(bench.codes)
        codes = bench.codes[own]
        held_out, sure = _held_out(bench)
        close = neighbors(space.Xs[own], NEIGHBORS)
        self.task = {
            "classes": float(self.K),
            "log_source_rows": float(np.log(len(space.Xs))),
            "log_target_rows": float(np.log(len(space.Xt))),
            "log_features": float(np.log(space.Xs.shape[1])),
            "held_out_accuracy": held_out,
            "held_out_confidence": sure,
            "source_neighbor_agreement": float((codes[close] == codes[:, None]).mean()),
            "domain_auc": domain_auc(space.Xs[own], space.Xt[self.rows], rng),
            "source_prior_entropy": _entropy(self.prior) / np.log(max(self.K, 2)),
            "log_penalty": float(np.log(bench.C)),
        }

    def own(self, proba: Array, consensus: Array, source: Array) -> dict[str, float]:
        """The `OWN` descriptors of one candidate's probabilities (n_t, K)."""
        K, n = proba.shape[1], len(proba)
        top = np.log(max(K, 2))
        label, mean = proba.argmax(axis=1), proba.mean(axis=0)
        shares = np.bincount(label, minlength=K) / n
        inner = -(proba * np.log(np.maximum(proba, 1e-12))).sum(axis=1).mean() / top
        outer = _entropy(mean) / top
        near = label[self.rows]
        same = float((near[self.neighbors] == near[:, None]).mean())
        chance = float((shares**2).sum())
        return {
            "confidence": float(proba.max(axis=1).mean()),
            "entropy": float(inner),
            "marginal_entropy": outer,
            "information": outer - float(inner),
            "neighbor_agreement": same,
            "neighbor_kappa": (same - chance) / (1 - chance + 1e-6),
            # the largest value that n rows of K probabilities can reach is sqrt(n min(n, K))
            "nuclear_norm": float(np.linalg.norm(proba, "nuc")) / np.sqrt(n * min(n, K)),
            "agreement": float((label == consensus.argmax(axis=1)).mean()),
            "soft_agreement": float((proba * consensus).sum(axis=1).mean()),
            "agreement_with_source": float((label == source.argmax(axis=1)).mean()),
            "moved_shares": float(np.abs(shares - self.prior).sum() / 2),
            "moved_mean": float(np.abs(mean - self.prior).sum() / 2),
            "share_entropy": _entropy(shares) / top,
            "empty_classes": float((shares < 0.2 / K).mean()),
        }


def table(
    around: Surroundings, proba: Mapping[str, Array], names: tuple[str, ...]
) -> tuple[Array, list[str]]:
    """One row of numbers for each candidate that has an answer.

    Parameters
    ----------
    proba : mapping of str to ndarray of shape (n_t, K)
        ``source-only`` among them.
    names : tuple of str
        All candidates that the columns know.

    Returns
    -------
    rows : ndarray of shape (len(proba), len(columns(names)))
    order : list of str
    """
    order = [name for name in names if name in proba]
    consensus = np.mean([proba[name] for name in order], axis=0)
    source = proba["source-only"]
    found = {name: around.own(proba[name], consensus, source) for name in order}
    base = found["source-only"]
    task = around.task | {
        "confidence_drop": around.task["held_out_confidence"] - base["confidence"],
        "mean_agreement": float(np.mean([one["agreement"] for one in found.values()])),
    }
    rows = [row(task, found[name], base, [name == other for other in names]) for name in order]
    return np.array(rows), order


def row(
    task: Mapping[str, float],
    own: Mapping[str, float],
    base: Mapping[str, float],
    marks: Sequence[bool],
) -> Array:
    """One row of `table`, of a candidate that is none of its names where no mark is set.

    Parameters
    ----------
    task, own, base : mapping of str to float
        Descriptors of the pair, of the candidate, and of source-only.
    marks : sequence of bool
        One a name.
    """
    values = [*(task[k] for k in TASK), *(own[k] for k in OWN)]
    values += [own[k] - base[k] for k in RELATIVE]
    return np.nan_to_num(np.array([*values, *marks], dtype=np.float64))


def neighbors(X: Array, count: int) -> Array:
    """(n, count) nearest other rows by the cosine of centred rows, in blocks."""
    X = X - X.mean(axis=0)
    X = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-9)
    count = max(1, min(count, len(X) - 1))
    out = np.empty((len(X), count), dtype=np.intp)
    for start in range(0, len(X), 1024):
        part = slice(start, min(start + 1024, len(X)))
        alike = X[part] @ X.T
        alike[np.arange(part.stop - start), np.arange(start, part.stop)] = -np.inf
        out[part] = np.argpartition(-alike, count - 1, axis=1)[:, :count]
    return out


def domain_auc(Xs: Array, Xt: Array, rng: np.random.Generator) -> float:
    """AUC of a held-out linear domain classifier, two folds; 0.5 where a fold lacks a side."""
    from sklearn.metrics import roc_auc_score

    X = np.concatenate([Xs, Xt])
    side = np.repeat([0, 1], [len(Xs), len(Xt)])
    fold = np.concatenate([rng.permutation(len(Xs)) % 2, rng.permutation(len(Xt)) % 2])
    scores = np.zeros(len(X))
    for k in (0, 1):
        if len(np.unique(side[fold != k])) < 2:
            return 0.5
        head = LogisticHead(C=0.01).fit(X[fold != k], side[fold != k])
        scores[fold == k] = head.decision_function(X[fold == k])
    return float(roc_auc_score(side, scores))


def _held_out(bench: Bench) -> tuple[float, float]:
    """Accuracy and mean confidence of source-only on source rows that a fold left out."""
    model = bench.reference
    logits, seen = model.head_.oof_logits_, model.head_.oof_rows_
    if logits is None or seen is None or not seen.any():
        return 0.0, 0.0
    z = logits[seen] if model.temperature_ is None else model.temperature_.apply(logits[seen])
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    right = np.asarray(model.head_.classes_)[p.argmax(axis=1)] == bench.codes[seen]
    return float(right.mean()), float(p.max(axis=1).mean())


def _entropy(p: Array) -> float:
    return float(-(p * np.log(np.maximum(p, 1e-12))).sum())
