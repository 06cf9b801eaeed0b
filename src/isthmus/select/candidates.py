"""Layer 6: the candidates of the automatic choice: one of each idea, with settings that are fixed.

All of them share one space, one penalty and one temperature, which the source chooses once; a
candidate then costs a decomposition or a fit, not a search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isthmus.adapt.base import Adapter
from isthmus.adapt.coral import CORAL
from isthmus.adapt.gfk import GFK
from isthmus.adapt.information_maximization import InformationMaximization
from isthmus.adapt.pca import PCA
from isthmus.adapt.self_training import SelfTraining
from isthmus.adapt.source_free_gaussian import SourceFreeGaussian
from isthmus.adapt.standardize import Standardize
from isthmus.adapt.tca import TCA
from isthmus.fit.adapted import FLOOR, Space, adapt, common_space, fit_adapter, fit_method
from isthmus.fit.calibrate import Temperature
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.routes.base import Domains, ModelFactory
from isthmus.types import Adaptation, Array

WIDTH = 256  # features that the candidates see: the leading directions of both domains
GAUSSIAN_WIDTH = 60  # a covariance of more needs more rows than most have
SOFTER = 2.0  # temperature of discriminant analysis, whose independence assumption overstates


class Bench:
    """What the candidates of one pair of domains share, computed when first asked for.

    Parameters
    ----------
    domains : Domains
        With a source.
    new_model : callable
        Maker of models; its processing and its classes are taken.
    """

    def __init__(self, domains: Domains, new_model: ModelFactory) -> None:
        assert domains.source is not None
        self.domains, self.source, self.new_model = domains, domains.source, new_model

    @cached_property
    def space(self) -> Space:
        """Both domains, processed as the heads want it, in at most `WIDTH` directions."""
        whole = common_space(self.new_model().processor, self.source.X, self.domains.Xt)
        return whole.reduced(WIDTH)

    @cached_property
    def narrow(self) -> Space:
        """The same in few directions, for methods with a covariance."""
        return self.space.reduced(GAUSSIAN_WIDTH)

    @cached_property
    def codes(self) -> Array:
        """(n_s,) source labels as positions among `classes`."""
        place = {name: i for i, name in enumerate(self.classes)}
        return np.array([place[str(name)] for name in self.source.y])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All class names."""
        return self.new_model().classes

    @cached_property
    def reference(self) -> FeatureModel:
        """Source-only in the shared space: it chooses the penalty and the temperature."""
        model = FeatureModel(
            None,
            LogisticHead(random_state=self.new_model().random_state),
            Temperature(),
            "classification",
            self.classes,
        )
        return fit_adapter(
            model, self.space, Adaptation(self.space.Xs), self.source.y, groups=self.source.groups
        )

    @property
    def C(self) -> float:
        """The penalty that the source chose, for features of variance 1 in the mean."""
        return float(self.reference.head_.C_)

    def blank(self, C: float, class_weight: str | None = None) -> FeatureModel:
        """An unfitted model with a given penalty and without a search."""
        head = LogisticHead(C=C, class_weight=class_weight)
        return FeatureModel(None, head, None, "classification", self.classes)

    def calibrated(self, model: FeatureModel) -> FeatureModel:
        """The model with the temperature of the reference: held-out rows would cost five fits."""
        model.temperature_ = self.reference.temperature_
        model.calibration_ = "temperature of source-only"
        return model

    def adapted(self, method: Adapter) -> FeatureModel:
        """Source-only on adapted rows; the penalty follows the scale that they came out with."""
        space = self.space
        found = adapt(method, space, self.source.y, task="classification")
        before, after = (float(np.asarray(X).var(axis=0).sum()) for X in (space.Xs, found.Xs))
        C = self.C * (before / after if after > 0 else 1.0)
        return self.calibrated(fit_adapter(self.blank(C), space, found, self.source.y))

    def fitted(self, method: object, space: Space | None = None) -> FeatureModel:
        """A method that is a classifier itself."""
        model = FeatureModel(None, LogisticHead(C=self.C), None, "classification", self.classes)
        return fit_method(model, space or self.space, method, self.source.y)


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
        ``build(bench) -> FeatureModel``.
    rung : int
        Cheap ones first: 0, 1, 2.
    """

    name: str
    family: str
    build: Callable[[Bench], FeatureModel]
    rung: int = 0


def smoothed_prior(bench: Bench) -> FeatureModel:
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


def discriminant(bench: Bench) -> FeatureModel:
    """Linear discriminant analysis of the source: another boundary from the same rows."""
    model = bench.fitted(
        SourceFreeGaussian(trust=float("inf"), align=False, prior="source", shrinkage=0.1),
        bench.narrow,
    )
    soft = Temperature()
    soft.T_, soft.note_ = SOFTER, "fixed"
    model.temperature_ = soft
    return model


def few(bench: Bench, most: int) -> int:
    """A number of components that both domains can carry."""
    space = bench.space
    return max(1, min(most, space.Xs.shape[1], len(space.Xs) - 1, len(space.Xt) - 1))


def informed(trade_off: float, tighter: float = 1.0) -> Callable[[Bench], FeatureModel]:
    """Information maximisation from the reference on."""

    def build(bench: Bench) -> FeatureModel:
        start = LogisticHead(C=bench.C)
        method = InformationMaximization(start, trade_off=trade_off, C=bench.C / tighter)
        return bench.fitted(method)

    return build


def source_only(bench: Bench) -> FeatureModel:
    """The reference itself."""
    return bench.reference


def balanced(bench: Bench) -> FeatureModel:
    """Source-only with classes of equal weight."""
    space = bench.space
    model = bench.blank(bench.C, "balanced")
    return bench.calibrated(fit_adapter(model, space, Adaptation(space.Xs), bench.source.y))


CANDIDATES: tuple[Candidate, ...] = (
    Candidate("source-only", "none", source_only),
    Candidate("balanced", "label", balanced),
    Candidate("prior", "label", smoothed_prior),
    Candidate("centre", "mean", lambda b: b.adapted(Standardize(scale=False))),
    Candidate("pca", "subspace", lambda b: b.adapted(PCA(few(b, 40)))),
    Candidate("coral", "covariance", lambda b: b.adapted(CORAL())),
    Candidate("lda", "none", discriminant, 1),
    Candidate(
        "gfk", "subspace", lambda b: b.adapted(GFK(min(few(b, 20), max(1, few(b, 40) // 2)))), 1
    ),
    Candidate(
        "self-training", "clusters", lambda b: b.fitted(SelfTraining(LogisticHead(C=b.C))), 1
    ),
    Candidate("information", "clusters", informed(0.3), 1),
    Candidate("information-tight", "clusters", informed(1.0, 10.0), 1),
    Candidate(
        "gaussian", "gaussian", lambda b: b.fitted(SourceFreeGaussian(prior="source"), b.narrow), 1
    ),
    Candidate("tca", "subspace", lambda b: b.adapted(TCA(few(b, 30))), 2),
)
