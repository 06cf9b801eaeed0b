"""Layer 6: the candidates of the automatic choice: one of each idea, with settings that are fixed.

**To add a candidate: a row of `CANDIDATES`**, then `make choice-prior`, which learns its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.frozen import FrozenEstimator

from isthmus.adapt.base import Adapter
from isthmus.adapt.coral import CORAL
from isthmus.adapt.gfk import GFK
from isthmus.adapt.information_maximization import InformationMaximization
from isthmus.adapt.pca import PCA
from isthmus.adapt.self_training import SelfTraining
from isthmus.adapt.source_free_gaussian import SourceFreeGaussian
from isthmus.adapt.standardize import Standardize
from isthmus.adapt.tca import TCA
from isthmus.fit.adapted import FLOOR, fit_adapter
from isthmus.fit.blend import BlendModel
from isthmus.fit.calibrate import Temperature
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.routes.pooled import Pooled
from isthmus.select.routes.target_only import TargetOnly
from isthmus.types import Adaptation, Array

SOFTER = 2.0  # temperature of discriminant analysis, whose independence assumption overstates


# Which labelled target rows a model is fitted with: their positions; None: no label is read.
Part = Array | None
Build = Callable[["Bench", Sequence[Part]], "Sequence[FeatureModel | BlendModel]"]


@dataclass(frozen=True)
class Candidate:
    """One candidate.

    Parameters
    ----------
    name : str
    family : str
        What it assumes of the shift: ``none``, ``label``, ``mean``, ``subspace``, ``covariance``,
        ``clusters``, ``gaussian``.
    build : callable
        ``build(bench, parts) -> models``, one for each choice of labelled target rows.
    rung : int
        Cheap ones first: 0, 1, 2.
    when : set of bool
        Whether it is tried with labelled target rows, without, or both.
    share : float, default=1.0
        With labelled target rows: its weight before one of them is read (without, the learned
        table says it).
    """

    name: str
    family: str
    build: Build
    rung: int = 0
    when: frozenset[bool] = frozenset({False, True})
    share: float = 1.0

    def model(self, bench: Bench) -> FeatureModel:
        """Fitted without target labels."""
        (model,) = self.build(bench, [None])
        assert isinstance(model, FeatureModel)  # a blend is a candidate among labels only
        return model


def one_by_one(build: Callable[[Bench, Labelled | None], FeatureModel]) -> Build:
    """What fits one model, for several choices of labelled rows."""

    def every(bench: Bench, parts: Sequence[Part]) -> list[FeatureModel]:
        return [build(bench, bench.known(part)) for part in parts]

    return every


def smoothed_prior(bench: Bench, known: Labelled | None) -> FeatureModel:
    """Source-only under class shares that expectation-maximisation estimates, drawn to equal ones.

    Saerens, Latinne and Decaestecker 2002, with a Dirichlet prior that weighs half as much as the
    target rows: maximum likelihood alone gives classes up where the features moved as well.
    """
    reference, space = bench.reference, bench.space
    proba = reference.predict_proba(bench.domains.Xt)
    K, n = proba.shape[1], len(proba)
    source = np.bincount(bench.codes, minlength=K) / len(bench.codes)
    shares, strength = source.copy(), 0.5 * n
    for _ in range(200):
        tilted = proba * (shares / np.maximum(source, 1e-9))
        tilted /= np.maximum(tilted.sum(axis=1, keepdims=True), 1e-300)
        fresh = (tilted.sum(axis=0) + strength) / (n + strength * K)
        if np.abs(fresh - shares).max() < 1e-7:
            break
        shares = fresh
    model = fit_adapter(bench.blank(bench.C), space, Adaptation(space.Xs), bench.source.y)
    codes = np.asarray(model.head_.classes_)
    model.log_ratio_ = np.log(np.maximum(shares[codes] / np.maximum(source[codes], 1e-9), FLOOR))
    return bench.calibrated(model)


def discriminant(bench: Bench, known: Labelled | None) -> FeatureModel:
    """Linear discriminant analysis of the source: another boundary from the same rows."""
    model = bench.fitted(
        SourceFreeGaussian(trust=float("inf"), align=False, prior="source", shrinkage=0.1),
        space=bench.narrow,
    )
    soft = Temperature()
    soft.T_, soft.note_ = SOFTER, "fixed"
    model.temperature_ = soft
    return model


def gaussian(bench: Bench, known: Labelled | None) -> FeatureModel:
    """Class means and covariances, aligned to the target."""
    return bench.fitted(SourceFreeGaussian(prior="source"), space=bench.narrow)


def informed(trade_off: float, tighter: float = 1.0) -> Build:
    """Information maximisation from the reference on."""

    def build(bench: Bench, known: Labelled | None) -> FeatureModel:
        start = FrozenEstimator(bench.reference.head_)  # fitted once for all
        # With labels one search each: draws cost a fit a fold times seven and gained nothing there.
        once = {} if known is None else {"draws": 1, "max_iter": 40}
        method = InformationMaximization(start, trade_off=trade_off, C=bench.C / tighter, **once)
        return bench.fitted(method, known)

    return one_by_one(build)


def self_training(bench: Bench, known: Labelled | None) -> FeatureModel:
    """Pseudo-labels of the surest target rows, round by round."""
    return bench.fitted(SelfTraining(LogisticHead(C=bench.C)), known)


def source_only(bench: Bench, known: Labelled | None) -> FeatureModel:
    """The reference itself."""
    return bench.reference


def as_route(route: TargetOnly | Pooled) -> Build:
    """What a route makes of the same rows: on all features, with a penalty of its own."""

    def build(bench: Bench, known: Labelled | None) -> FeatureModel:
        return route.fit(Domains(bench.source, known, bench.domains.Xt), bench.new_model)

    return one_by_one(build)


def balanced(bench: Bench, known: Labelled | None) -> FeatureModel:
    """Source-only with classes of equal weight."""
    space = bench.space
    model = bench.blank(bench.C, "balanced")
    return bench.calibrated(fit_adapter(model, space, Adaptation(space.Xs), bench.source.y))


def mapped(make: Callable[[Bench], Adapter | None], row_weight: float | None = None) -> Build:
    """A head on the rows that an adapter maps; the map reads no target label.

    `row_weight` is that of a labelled target row, in units of a source row; None: the bench's.
    """

    def build(bench: Bench, parts: Sequence[Part]) -> list[FeatureModel]:
        known = [part for part in parts if part is not None]
        if known:
            return bench.adapted_each(make(bench), known, row_weight)
        return [bench.adapted(make(bench))]

    return build


WITHOUT, WITH = frozenset({False}), frozenset({True})  # labelled target rows
LEADING = 5.0  # share of those that were best with 1, 5 and 20 labels a class (docs/log.md)
CANDIDATES: tuple[Candidate, ...] = (
    Candidate("source-only", "none", one_by_one(source_only)),
    Candidate("target-only", "none", as_route(TargetOnly()), when=WITH, share=LEADING),
    Candidate("pooled", "none", as_route(Pooled()), when=WITH, share=2 * LEADING),
    # every row alike: the labels only nudge
    Candidate("pooled-even", "none", mapped(lambda b: None, 1.0), when=WITH, share=LEADING),
    Candidate("balanced", "label", one_by_one(balanced), when=WITHOUT),
    Candidate("prior", "label", one_by_one(smoothed_prior), when=WITHOUT),
    Candidate("centre", "mean", mapped(lambda b: Standardize(scale=False))),
    Candidate("pca", "subspace", mapped(lambda b: PCA(b.few(40)))),
    Candidate("coral", "covariance", mapped(lambda b: CORAL())),
    Candidate("lda", "none", one_by_one(discriminant), 1, WITHOUT),
    Candidate(
        "gfk",
        "subspace",
        mapped(lambda b: GFK(min(b.few(20), max(1, b.few(40) // 2)))),
        1,
        share=LEADING,
    ),
    Candidate("self-training", "clusters", one_by_one(self_training), 1, WITHOUT),
    Candidate("information", "clusters", informed(0.3), 1),
    Candidate("information-tight", "clusters", informed(1.0, 10.0), 1, share=LEADING),
    Candidate("information-firm", "clusters", informed(3.0, 10.0), 1, WITH, LEADING),
    Candidate("gaussian", "gaussian", one_by_one(gaussian), 1, WITHOUT),
    Candidate("tca", "subspace", mapped(lambda b: TCA(b.few(30))), 2),
)


def candidates(*, labelled: bool) -> list[Candidate]:
    """Those for domains with or without labelled target rows, cheap ones first."""
    fitting = [one for one in CANDIDATES if labelled in one.when]
    return sorted(fitting, key=lambda one: one.rung)
