"""Layer 6: where a model abstains: rows of the target that no class of the source explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.adapt.kernels import unit_rows
from isthmus.errors import DataError
from isthmus.fit.blend import Model
from isthmus.fit.folds import folds
from isthmus.fit.mapped import Mapped
from isthmus.fit.open_set import OpenSetModel, Strangeness, check_names, doubt, far
from isthmus.select.bench import Bench, some
from isthmus.select.routes.base import Domains, ModelFactory
from isthmus.types import Array

LOST = 0.1  # of the answers expected to be right, that abstaining may cost at most
CLUSTERS = 5  # prototypes of a class at most
EACH = 4  # rows of a class for one prototype
MOST = 4000  # rows of a side
FEWEST = 20  # target rows below which nothing is learnt about what is strange among them
SPLITS = 3


@dataclass(frozen=True)
class Abstaining:
    """A model that abstains, and by what rule.

    Parameters
    ----------
    model : OpenSetModel
    refused : float
        Share of the target rows that are answered unknown.
    lost : float
        Share of the answers expected to be right that are among them.
    false_refusal : float
        Share of held-out source rows, centred as the target's are, that would be refused.
    """

    model: OpenSetModel
    refused: float
    lost: float
    false_refusal: float

    @property
    def rule(self) -> str:
        """The threshold in a sentence."""
        return (
            f"the strangest target rows are refused as long as, by probabilities calibrated on "
            f"held-out source rows, at most {100 * LOST:g} % of the right answers are lost"
        )


def abstaining(
    model: Model, domains: Domains, new_model: ModelFactory, *, random_state: int = 0
) -> Abstaining:
    """Let a fitted model abstain on rows of classes that it was not trained on.

    Strangeness is doubt (entropy) plus distance (cosine to the nearest cluster of a known class,
    each domain centred). The threshold is the lowest at which refusing costs at most a tenth of
    the answers that the calibrated probabilities promise to be right: doubtful rows are cheap to
    refuse, and where the model is sure few are. Quantiles of the source's own strangeness, moved
    or scaled to the target's or not, refused next to nothing or up to 61 % of the known rows on
    seven pairs of domains: under a shift the scale of strangeness is another one.

    Parameters
    ----------
    model : Model
        Of the target domain; it is not changed.
    domains : Domains
        With a source; no target label is read but those of `domains.target`.

    Raises
    ------
    DataError
        Fewer than 20 target rows.
    UsageError
        If a class is called "unknown".
    """
    check_names(tuple(model.classes))
    if len(domains.Xt) < FEWEST:
        raise DataError(
            f"{len(domains.Xt)} target rows are too few to tell which are strange",
            where="classes",
            why=f"at least {FEWEST} are needed",
            remedy="Use --classes closed or partial",
        )
    rng = np.random.default_rng(random_state)
    bench = Bench(domains, new_model)
    space = bench.space
    width = int(np.shape(domains.Xt)[1])
    front = Mapped.of(space.processor, space.front(), width)
    centre = space.Xt.mean(axis=0)
    own = some(len(space.Xs), MOST, rng)
    Z, y = space.Xs[own] - space.Xs.mean(axis=0), bench.codes[own]
    if domains.target is not None:
        Z = np.concatenate([Z, space.rows(domains.target.X) - centre])
        y = np.concatenate([y, bench.codes_of(domains.target)])
    X = np.asarray(domains.Xt)[some(len(domains.Xt), 5 * MOST, rng)]
    proba = model.predict_proba(X)
    draft = Strangeness(front, centre, prototypes(Z, y, random_state), np.tile([0.0, 1.0], (2, 1)))
    parts = np.stack([doubt(proba), draft.distance(X)])
    scale = np.stack([parts.mean(axis=1), np.maximum(parts.std(axis=1), 1e-9)], axis=1)
    strange = Strangeness(front, centre, draft.prototypes, scale)
    score, sure = strange(X, proba), proba.max(axis=1)
    order = np.argsort(-score, kind="stable")
    cost = np.cumsum(sure[order]) / sure.sum()
    count = int((cost <= LOST).sum())
    threshold = (
        float(score[order[0]]) + 1e-6
        if count == 0
        else float(score[order[count - 1 : count + 1]].mean())
    )
    refused = score > threshold
    assert not isinstance(model, OpenSetModel)
    return Abstaining(
        OpenSetModel(model, strange, threshold),
        float(refused.mean()),
        float(sure[refused].sum() / sure.sum()),
        _false_refusal(bench, scale, threshold, random_state),
    )


def prototypes(Z: Array, y: Array, random_state: int) -> Array:
    """(m, k) cluster centres of each class's rows at length 1, themselves of length 1."""
    from sklearn.cluster import KMeans

    rows = unit_rows(np, Z)
    found = []
    for c in np.unique(y):
        own = rows[y == c]
        k = max(1, min(CLUSTERS, len(own) // EACH, len(np.unique(own, axis=0))))
        if k == 1:
            found.append(own.mean(axis=0, keepdims=True))
        else:
            found.append(KMeans(k, n_init=1, random_state=random_state).fit(own).cluster_centers_)
    return np.asarray(unit_rows(np, np.concatenate(found)))


def _false_refusal(bench: Bench, scale: Array, threshold: float, seed: int) -> float:
    """Share of source rows that folds hold out and the threshold refuses."""
    head = bench.reference.head_
    logits, seen = head.oof_logits_, head.oof_rows_
    if logits is None or not seen.any():
        return float("nan")
    model, Z, y = bench.reference, bench.space.Xs, bench.codes
    z = logits if model.temperature_ is None else model.temperature_.apply(logits)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    proba = np.zeros((len(y), len(bench.classes)))
    proba[:, head.classes_] = p / p.sum(axis=1, keepdims=True)
    parts = np.stack([doubt(proba), np.full(len(y), np.nan)])
    for train, test in folds(y, task="classification", n_splits=SPLITS, random_state=seed):
        middle = Z[train].mean(axis=0)
        parts[1, test] = far(Z[test] - middle, prototypes(Z[train] - middle, y[train], seed))
    score = ((parts - scale[:, :1]) / scale[:, 1:]).sum(axis=0)
    told = seen & np.isfinite(score)
    return float((score[told] > threshold).mean()) if told.any() else float("nan")
